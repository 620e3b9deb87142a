//! What a chain gives back.

use std::sync::Arc;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record},
};
use tokio::sync::OwnedSemaphorePermit;

/// An answer, or that there is none. The question, the client's id and its OPT are not part of it: they are repeated when
/// it is written.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response code.
    pub rcode: ResponseCode,
    /// AA.
    pub authoritative: bool,
    /// RA.
    pub recursion_available: bool,
    /// RD, where it is not to be the request's.
    pub recursion_desired: Option<bool>,
    /// AD.
    pub authentic_data: bool,
    /// TC, set by an upstream whose whole answer could not be had.
    pub truncated: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section, without OPT.
    pub additionals: Vec<Record>,
    /// EDNS options for our OPT: code and data. Left out where the client has no OPT.
    pub options: Vec<(u16, Vec<u8>)>,
    /// A zone transfer: all its records, from SOA to SOA, instead of the answer section. Only over TCP.
    pub transfer: Option<Vec<Record>>,
    /// What a transfer holds until all of it has been sent.
    pub turn: Option<Arc<OwnedSemaphorePermit>>,
    /// Nothing is sent at all.
    pub silent: bool,
    /// The plugin that answered; empty where none did.
    pub plugin: &'static str,
    /// Answered from the cluster's index: as fresh as it gets, never to be cached.
    pub from_cluster: bool,
    /// Why it is no better: for the log of errors.
    pub error: Option<String>,
}

impl Reply {
    /// An answer without records.
    pub fn new(plugin: &'static str, rcode: ResponseCode) -> Self {
        Self {
            rcode,
            authoritative: false,
            recursion_available: false,
            recursion_desired: None,
            authentic_data: false,
            truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            options: Vec::new(),
            transfer: None,
            turn: None,
            silent: false,
            plugin,
            from_cluster: false,
            error: None,
        }
    }

    /// SERVFAIL, and why.
    pub fn failed(plugin: &'static str, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(plugin, ResponseCode::ServFail) }
    }

    /// No answer.
    pub fn silence(plugin: &'static str) -> Self {
        Self { silent: true, ..Self::new(plugin, ResponseCode::NoError) }
    }

    /// The same answer for a name that differs in the case of letters at most: a client may want its own back.
    #[must_use]
    pub fn for_name(mut self, name: &Name) -> Self {
        for record in self.answers.iter_mut().chain(&mut self.authorities) {
            if record.name == *name {
                record.name = name.clone();
            }
        }
        self
    }

    /// The end of a chain in which nobody answered.
    pub fn nobody() -> Self {
        Self::failed("", "no next plugin found")
    }
}
