//! The names of objects: those that are given must agree with the request, those that are not are made up.

use serde_json::{Value, json};

use crate::apiserver::kind::Kind;
use crate::apiserver::object::Key;
use crate::apiserver::rules::error::ApiError;
use crate::apiserver::rules::value::{remove, set, text};

/// What generated names end in: no vowels, and nothing that looks like something else.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
const LONGEST_GENERATED: usize = 63;

/// Puts the object in the request's namespace, if it does not say another.
pub(super) fn place(kind: Kind, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let said = text(object, &["metadata", "namespace"]);
    if !kind.info().namespaced {
        remove(object, &["metadata", "namespace"]);
    } else if said.is_empty() {
        set(object, &["metadata", "namespace"], json!(namespace));
    } else if said != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Refuses an object of another name than the request's.
pub(super) fn same(key: &Key, object: &Value) -> Result<(), ApiError> {
    match text(object, &["metadata", "name"]) {
        "" => Err(ApiError::bad_request("name must be provided")),
        name if name == &*key.name => Ok(()),
        name => Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        ))),
    }
}

/// Gives an object without a name one that starts with its `generateName` and is not `taken`.
pub(super) fn generate(object: &mut Value, taken: impl Fn(&str) -> bool) {
    let base = text(object, &["metadata", "generateName"]);
    if base.is_empty() || !text(object, &["metadata", "name"]).is_empty() {
        return;
    }
    let base: String = base.chars().take(LONGEST_GENERATED - SUFFIX).collect();
    for _ in 0..64 {
        let suffix = (0..SUFFIX).filter_map(|_| fastrand::choice(LETTERS)).map(|letter| char::from(*letter));
        let name: String = base.chars().chain(suffix).collect();
        if !taken(&name) {
            return set(object, &["metadata", "name"], json!(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_the_base_and_five_letters_and_free() {
        let mut object = json!({"metadata": {"generateName": "web-"}});
        let seen = std::cell::Cell::new(0);
        generate(&mut object, |_| seen.replace(seen.get() + 1) < 3);
        let name = text(&object, &["metadata", "name"]);
        assert!(name.len() == 9 && name.starts_with("web-"), "{name}");
        assert_eq!(seen.get(), 4);
        let mut long = json!({"metadata": {"generateName": "x".repeat(80)}});
        generate(&mut long, |_| false);
        assert_eq!(text(&long, &["metadata", "name"]).len(), LONGEST_GENERATED);
    }

    #[test]
    fn a_name_that_is_given_stays() {
        let mut object = json!({"metadata": {"generateName": "web-", "name": "mine"}});
        generate(&mut object, |_| false);
        assert_eq!(text(&object, &["metadata", "name"]), "mine");
    }

    #[test]
    fn an_object_must_agree_with_its_request() {
        let mut object = json!({"metadata": {"name": "a", "namespace": "other"}});
        assert_eq!(place(Kind::Pod, "shop", &mut object).unwrap_err().code, 400);
        assert!(place(Kind::Node, "", &mut object).is_ok());
        assert_eq!(object, json!({"metadata": {"name": "a"}}));
        place(Kind::Pod, "shop", &mut object).unwrap();
        assert_eq!(text(&object, &["metadata", "namespace"]), "shop");
        assert!(same(&Key::new("shop", "b"), &object).unwrap_err().message.contains("(b)"));
    }
}
