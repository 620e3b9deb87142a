//! `tls CERT KEY [CA] { client_auth HOW }`: the certificate of a block's TLS and HTTPS listeners
//! (`coredns` `plugin/tls/tls.go`).

use crate::{
    block::{BlockConfig, Verdict},
    corefile::{Directive, Error},
    server::{ClientAuth, TlsFiles},
};

/// Reads the directive. The files are read when the block starts to listen.
///
/// # Errors
/// When there are fewer than two or more than three files, or an option is unknown.
pub fn tls(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    for directive in directives {
        let path = |word: &crate::corefile::Token| block.root.join(&word.text);
        let (certificate, key, authorities) = match directive.args.as_slice() {
            [certificate, key] => (path(certificate), path(key), None),
            [certificate, key, authorities] => (path(certificate), path(key), Some(path(authorities))),
            _ => return Err(directive.wrong_count()),
        };
        let mut client_auth = ClientAuth::None;
        for option in &directive.body {
            match option.name.text.as_str() {
                "client_auth" => {
                    let [how] = option.exactly::<1>()?;
                    client_auth = match how.text.as_str() {
                        "nocert" => ClientAuth::None,
                        "request" => ClientAuth::Request,
                        "require" => ClientAuth::RequireAny,
                        "verify_if_given" => ClientAuth::VerifyIfGiven,
                        "require_and_verify" => ClientAuth::RequireAndVerify,
                        other => {
                            return Err(how.error(format!("unknown authentication type '{other}'")));
                        }
                    };
                }
                "keylog" => {
                    option.exactly::<1>()?;
                    block.verdicts.push(Verdict {
                        directive: "tls",
                        at: option.name.at.clone(),
                        without_effect: Some("keylog: keys of sessions are never written out".to_owned()),
                    });
                }
                other => return Err(option.error(format!("unknown option '{other}'"))),
            }
        }
        block.tls = Some(TlsFiles { certificate, key, authorities, client_auth });
    }
    Ok(())
}
