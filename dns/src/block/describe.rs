//! A block as it was understood, defaults filled in: lines of a Corefile that mean the same.

use super::config::BlockConfig;
use crate::{corefile::quoted, plugins::reading::duration_text, server::ClientAuth};

impl BlockConfig {
    /// The block as lines of a Corefile, its settings first and then its chain in the order it is asked. What has no effect is
    /// left out.
    pub fn describe(&self) -> Vec<String> {
        let keys: Vec<String> = self.keys.iter().map(|key| quoted(&key.to_string()).into_owned()).collect();
        let mut lines = vec![format!("{} {{", keys.join(" "))];
        let chain = self.chain.iter().flat_map(|setup| setup.describe());
        lines.extend(self.settings().into_iter().chain(chain).map(|line| format!("    {line}")));
        lines.push("}".to_owned());
        lines
    }

    fn settings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.root.as_os_str().is_empty() {
            lines.push(format!("root {}", quoted(&self.root.to_string_lossy())));
        }
        lines.extend(self.timeouts());
        if let Some(most) = self.https_connections {
            lines.extend(braces("https", vec![format!("max_connections {most}")]));
        }
        if let Some(sockets) = self.sockets {
            lines.push(format!("multisocket {sockets}"));
        }
        if let Some(reload) = self.reload {
            let (interval, jitter) = (duration_text(reload.interval), duration_text(reload.jitter));
            lines.push(format!("reload {interval} {jitter}"));
        }
        if let Some(payload) = self.payload {
            lines.push(format!("bufsize {payload}"));
        }
        if !self.bind.is_empty() {
            let addresses: Vec<String> = self.bind.iter().map(ToString::to_string).collect();
            lines.push(format!("bind {}", addresses.join(" ")));
        }
        if self.debug {
            lines.push("debug".to_owned());
        }
        lines.extend(self.pages());
        lines.extend(self.certificates());
        lines.extend(self.view.iter().flat_map(|view| view.describe()));
        lines
    }

    fn timeouts(&self) -> Vec<String> {
        let timeouts = self.timeouts;
        let times = [("read", timeouts.read), ("write", timeouts.write), ("idle", timeouts.idle)];
        let times = times
            .into_iter()
            .filter_map(|(name, time)| time.map(|time| format!("{name} {}", duration_text(time))));
        let queries = timeouts.queries.map(|most| format!("max_queries {most}"));
        braces("timeouts", times.chain(queries).collect())
    }

    fn pages(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(ready) = &self.ready {
            let how = if ready.continuously { "continuously" } else { "until-ready" };
            lines.extend(braces(&format!("ready {}", ready.address), vec![format!("monitor {how}")]));
        }
        if let Some(health) = &self.health {
            let lameduck = format!("lameduck {}", duration_text(health.lameduck));
            lines.extend(braces(&format!("health {}", health.address), vec![lameduck]));
        }
        lines.extend(self.prometheus.iter().map(|address| format!("prometheus {address}")));
        lines
    }

    fn certificates(&self) -> Vec<String> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let files = [Some(&tls.certificate), Some(&tls.key), tls.authorities.as_ref()];
        // They have been joined to the root, which is shown too.
        let files = files.into_iter().flatten().map(|file| file.strip_prefix(&self.root).unwrap_or(file));
        let files: Vec<String> = files.map(|file| quoted(&file.to_string_lossy()).into_owned()).collect();
        let how = match tls.client_auth {
            ClientAuth::None => "nocert",
            ClientAuth::Request => "request",
            ClientAuth::RequireAny => "require",
            ClientAuth::VerifyIfGiven => "verify_if_given",
            ClientAuth::RequireAndVerify => "require_and_verify",
        };
        braces(&format!("tls {}", files.join(" ")), vec![format!("client_auth {how}")])
    }
}

/// A directive with options; nothing without any.
fn braces(directive: &str, options: Vec<String>) -> Vec<String> {
    if options.is_empty() {
        return Vec::new();
    }
    let options = options.into_iter().map(|option| format!("    {option}"));
    [format!("{directive} {{")].into_iter().chain(options).chain(["}".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::config;

    fn described(text: &str) -> String {
        let config = config(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        config.blocks.iter().flat_map(|block| block.describe()).map(|line| line + "\n").collect()
    }

    #[test]
    fn settings_are_shown_with_their_defaults() {
        let text = "a.test tls://b.test 10.0.0.0/15:54 {\n ready\n health {\n lameduck 65s\n }\n prometheus\n reload\n bufsize\n \
                    debug\n bind 127.0.0.1 ::1\n multisocket 3\n timeouts {\n idle 10s\n max_queries 5\n }\n https {\n \
                    max_connections 7\n }\n tls /c \"/a k\" {\n client_auth require\n }\n trace\n}";
        let want = "dns://a.test.:53 tls://b.test.:853 dns://0.10.in-addr.arpa.:54 dns://1.10.in-addr.arpa.:54 {\n    \
                    timeouts {\n        idle 10s\n        max_queries 5\n    }\n    https {\n        max_connections 7\n    }\n    \
                    multisocket 3\n    reload 30s 15s\n    bufsize 1232\n    bind 127.0.0.1 ::1\n    debug\n    ready :8181 {\n        \
                    monitor until-ready\n    }\n    health :8080 {\n        lameduck 1m5s\n    }\n    prometheus localhost:9153\n    \
                    tls /c \"/a k\" {\n        client_auth require\n    }\n}\n";
        assert_eq!(described(text), want);
        // It means the same.
        assert_eq!(described(want), want);
    }

    #[test]
    fn a_block_of_nothing_is_shown() {
        assert_eq!(described("."), "dns://.:53 {\n}\n");
    }

    #[test]
    fn chains_are_shown_as_they_are_asked() {
        let text = described(". {\n whoami\n kubernetes cluster.local {\n  ttl 7\n }\n any\n}");
        let words: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(words.first(), Some(&"dns://.:53"));
        let at =
            |word: &str| words.iter().position(|other| *other == word).unwrap_or_else(|| panic!("{text}"));
        assert!(at("any") < at("kubernetes") && at("kubernetes") < at("whoami"), "{text}");
        assert!(text.contains("ttl 7\n"), "{text}");
    }
}
