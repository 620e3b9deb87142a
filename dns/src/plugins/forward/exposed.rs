//! What `forward` asks and how it reads replies, without sockets: for fuzz targets.

use super::{
    message,
    question::{Case, Question},
    relevant::keep_relevant,
    serve::to_reply,
};
use crate::{answer::Request, plugin::Reply};

/// A question as it goes to an upstream.
#[derive(Clone, Debug)]
pub struct Asked(Question);

impl Asked {
    /// What is asked for a client's request with these options.
    pub fn of(request: &Request, options: &[(u16, Vec<u8>)]) -> Self {
        Self(Question::new(&request.question, request, options))
    }

    /// The message, without the length that stands before it on streams.
    pub fn written(&self, id: u16, edns: bool) -> Vec<u8> {
        self.0.write(id, edns).split_off(2)
    }

    /// Whether a message answers the question with this id: over UDP others are not even looked at. `same_case`: letters of
    /// the question have to come back as they went.
    pub fn is_answered_by(&self, id: u16, message: &[u8], same_case: bool) -> bool {
        self.0.is_answered_by(id, message, if same_case { Case::Same } else { Case::Any })
    }

    /// What such a message is to the client: what in it belongs to the question.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reply(&self, message: &[u8]) -> Result<Reply, String> {
        let mut message = message::read(message).map_err(|error| error.to_string())?;
        keep_relevant(&self.0, &mut message);
        Ok(to_reply(message))
    }
}
