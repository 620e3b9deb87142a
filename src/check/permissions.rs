//! `permissions`: whether accounts may do what their duty needs, and not much more.

use super::{
    codes,
    facts::{AccountFacts, Known, PermissionFacts},
    finding::Item,
    rights::Asked,
};

/// What there is to say of accounts.
pub(super) fn check(facts: &PermissionFacts) -> Vec<Item> {
    let mut items = Vec::new();
    match &facts.install {
        Some(Ok(refused)) if refused.is_empty() => {
            items.push(Item::good("you may create everything that an installation has"));
        }
        Some(Ok(refused)) => items.push(codes::MAY_NOT_INSTALL.is(
            format!("you may not {}", refused.join(", ")),
            "install as a cluster administrator; who creates a ClusterRole must hold its rights",
        )),
        Some(Err(missing)) => items.push(Item::not_checked("your rights", missing)),
        None => {}
    }
    match &facts.accounts {
        Ok(accounts) => items.extend(accounts.iter().flat_map(account)),
        // Before an installation there are none.
        Err(_) if facts.install.is_some() => {}
        Err(missing) => items.push(Item::not_checked("the accounts of Callsign's pods", missing)),
    }
    items
}

fn account(facts: &AccountFacts) -> Vec<Item> {
    let AccountFacts { account, duty, answers, beyond } = facts;
    let what = format!("ServiceAccount {account}, for {}", duty.name());
    let refused = |needed: bool| {
        let no = |(asked, may): &&(Asked, Known<bool>)| asked.lost.is_none() == needed && *may == Ok(false);
        answers.iter().filter(no).map(|(asked, _)| asked).collect::<Vec<&Asked>>()
    };
    let mut items = Vec::new();
    let (needed, wanted) = (refused(true), refused(false));
    if !needed.is_empty() {
        items.push(codes::RIGHT_MISSING.is(
            format!("{what}: may not {}", list(needed.iter())),
            "apply the ClusterRole, Role and bindings of the chart or of `callsign manifest` for this mode",
        ));
    }
    for asked in wanted {
        let lost = asked.lost.unwrap_or_default();
        items.push(
            codes::RIGHT_WANTED.is(
                format!("{what}: may not {asked}"),
                format!("without it {lost}; the chart's roles have it"),
            ),
        );
    }
    let unknown = answers.iter().find_map(|(_, may)| may.as_ref().err());
    if let Some(missing) = unknown {
        items.push(Item::not_checked(what.clone(), missing));
    } else if items.is_empty() {
        items.push(Item::good(format!("{what}: may do what it needs to")));
    }
    let extra: Vec<&Asked> =
        beyond.iter().filter(|(_, may)| *may == Ok(true)).map(|(asked, _)| asked).collect();
    if !extra.is_empty() {
        items.push(codes::RIGHT_TOO_MUCH.is(
            format!("{what}: may also {}", list(extra.iter())),
            "bind the account to the chart's roles alone; whoever breaks into the pod has all of it",
        ));
    }
    items
}

fn list<'a>(all: impl Iterator<Item = &'a &'a Asked>) -> String {
    all.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            facts::Missing,
            finding::ids,
            rights::{Duty, asked},
        },
        *,
    };

    fn facts(duty: Duty, may: impl Fn(&Asked) -> Known<bool>) -> PermissionFacts {
        let all =
            |rights| asked(rights, "dns").into_iter().map(|asked| (asked.clone(), may(&asked))).collect();
        let account = AccountFacts {
            account: "dns/callsign".to_owned(),
            duty,
            answers: all(duty.rights()),
            beyond: all(duty.beyond()),
        };
        PermissionFacts { accounts: Ok(vec![account]), install: None }
    }

    fn exactly(duty: Duty) -> impl Fn(&Asked) -> Known<bool> {
        let needed = asked(duty.rights(), "dns");
        move |asked| Ok(needed.contains(asked))
    }

    #[test]
    fn what_is_needed_is_enough_and_more_is_told() {
        for duty in [Duty::Dns, Duty::Shadow, Duty::Writer] {
            let items = check(&facts(duty, exactly(duty)));
            assert_eq!(items.len(), 1, "{items:?}");
            assert!(matches!(&items[0], Item::Good(text) if text.contains("dns/callsign")));
            assert_eq!(ids(&check(&facts(duty, |_| Ok(true)))), ["CHK203"]);
        }
    }

    #[test]
    fn what_lacks_is_named_with_what_it_costs() {
        let may = |asked: &Asked| {
            Ok(exactly(Duty::Writer)(asked) == Ok(true)
                && !(asked.verb == "watch" && asked.resource == "leases")
                && !(asked.verb == "update" && asked.resource == "endpointslices"))
        };
        let items = check(&facts(Duty::Writer, may));
        assert_eq!(ids(&items), ["CHK201", "CHK202"]);
        let texts: Vec<_> = items.iter().filter_map(Item::finding).collect();
        assert!(texts[0].message.ends_with("may not update endpointslices.discovery.k8s.io"), "{texts:?}");
        assert!(texts[1].cure.contains("retry-period"), "{texts:?}");
    }

    #[test]
    fn who_may_not_ask_is_told() {
        let no = || Err(Missing::Forbidden("create subjectaccessreviews".to_owned()));
        let items = check(&facts(Duty::Dns, |_| no()));
        let wanted =
            Item::not_checked("ServiceAccount dns/callsign, for DNS", "may not create subjectaccessreviews");
        assert_eq!(items, [wanted]);
        let install = |install| PermissionFacts {
            accounts: Err(Missing::NotAsked("before an installation".to_owned())),
            install: Some(install),
        };
        let items = check(&install(Ok(vec!["create clusterroles".to_owned()])));
        assert_eq!(ids(&items), ["CHK204"]);
        assert_eq!(check(&install(Ok(Vec::new()))).len(), 1);
        assert!(matches!(
            check(&install(Err(Missing::Forbidden("x".into()))))[..],
            [Item::NotChecked { .. }]
        ));
    }
}
