//! `cancel`: an end to how long a question may be worked on.
//!
//! It stands behind `errors` and `log`, other than in CoreDNS, where it comes before them and they are told of the end by
//! the context: what ran out of time is logged here too.

use std::time::Duration;

use futures::future::BoxFuture;

use super::reading::{no_body, once};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

const NAME: &str = "cancel";
/// What is given where none is written: a little more than the five seconds after which resolvers ask again.
const TIMEOUT: Duration = Duration::from_millis(5001);

/// Reads the directive.
///
/// # Errors
/// When its duration is none.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    no_body(directive)?;
    let timeout = match directive.args.as_slice() {
        [] => TIMEOUT,
        [word] => match word.duration() {
            Ok(timeout) if !timeout.is_zero() => timeout,
            _ => return Err(word.error(format!("invalid duration: \"{}\"", word.text))),
        },
        _ => return Err(directive.wrong_count()),
    };
    Ok(Prepared::of(lines(directive), Cancel { timeout }).alone())
}

struct Cancel {
    timeout: Duration,
}

impl Plugin for Cancel {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Pass
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let (question, options) = (query.question.clone(), query.options.clone());
            match tokio::time::timeout(self.timeout, next.serve(query)).await {
                Ok(reply) => reply,
                Err(_) => {
                    // Whoever changed the question has not come to change it back.
                    (query.question, query.options) = (question, options);
                    Reply::failed(NAME, "context deadline exceeded")
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::{
        op::ResponseCode,
        rr::{Name, RecordType},
    };

    use super::*;
    use crate::testing;

    struct Sleepy;

    impl Plugin for Sleepy {
        fn name(&self) -> &'static str {
            "sleepy"
        }

        fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
            query.question.name = Name::root();
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                next.serve(query).await
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_is_given_up() {
        let chain: [Arc<dyn Plugin>; 2] =
            [Arc::new(Cancel { timeout: Duration::from_secs(1) }), Arc::new(Sleepy)];
        let mut query = testing::query("example.org.", RecordType::A);
        let began = tokio::time::Instant::now();
        let reply = Next::new(&chain).serve(&mut query).await;
        assert_eq!(reply.rcode, ResponseCode::ServFail);
        assert_eq!(reply.error.as_deref(), Some("context deadline exceeded"));
        assert_eq!(began.elapsed().as_secs(), 1);
        assert_eq!(query.name().to_string(), "example.org.", "the question is as it was");
    }

    #[test]
    fn durations_are_checked() {
        for bad in ["0", "-1s", "5", "1s 2s"] {
            assert!(testing::config(&format!(".:53 {{\n cancel {bad}\n}}")).is_err(), "{bad}");
        }
        assert!(testing::config(".:53 {\n cancel 1s\n}").is_ok());
    }
}
