//! The order of a list that two sides have a say in.

/// Merges the keys of what only the stored list has with the keys a patch lists, in the patch's order: what the stored
/// list had before an item of the patch stays before it, and what is new stays with its predecessor.
pub(super) fn merged_order<K: PartialEq + Clone>(stored: &[K], wanted: &[K]) -> Vec<K> {
    let place = |key: &K| stored.iter().position(|stored| stored == key);
    let mut others = stored.iter().filter(|key| !wanted.contains(key)).peekable();
    let mut order = Vec::with_capacity(stored.len() + wanted.len());
    for key in wanted {
        if let Some(here) = place(key) {
            while let Some(other) = others.next_if(|other| place(other).is_some_and(|there| there < here)) {
                order.push(other.clone());
            }
        }
        order.push(key.clone());
    }
    order.extend(others.cloned());
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_their_order() {
        assert_eq!(merged_order(&["a", "b", "c"], &["c", "a"]), ["b", "c", "a"]);
        assert_eq!(merged_order(&["a", "b"], &["b", "n", "a"]), ["b", "n", "a"]);
        assert_eq!(merged_order(&["s", "a", "t"], &["a", "n"]), ["s", "a", "n", "t"]);
        assert_eq!(merged_order(&["a"], &[]), ["a"]);
    }
}
