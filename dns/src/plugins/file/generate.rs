//! `$GENERATE START-STOP[/STEP] LEFT … RIGHT`: an entry for each number of a range.
//!
//! `$` stands for the number, `${OFFSET[,WIDTH[,BASE]]}` for the number plus an offset, with leading zeros, in the base `d`,
//! `o`, `x` or `X`; `\$` is a dollar sign (as in BIND and in miekg/dns).

use super::words::{Entry, Word};

/// The most entries that one line may stand for.
const MOST: u64 = 65_536;

/// The entries that a `$GENERATE` stands for.
///
/// # Errors
/// With what is wrong about it.
pub(super) fn generate(entry: &Entry) -> Result<Vec<Entry>, String> {
    let [_, range, pattern @ ..] = entry.words.as_slice() else {
        return Err("$GENERATE without a range".into());
    };
    if pattern.len() < 3 {
        return Err("$GENERATE wants a range, a name, a type and its data".into());
    }
    let numbers =
        read_range(&range.text).ok_or_else(|| format!("'{}' is no range of $GENERATE", range.text))?;
    let one = |number| {
        let words = pattern.iter().map(|word| {
            let text = fill(&word.text, number)
                .ok_or_else(|| format!("'{}' is no pattern of $GENERATE", word.text))?;
            Ok(Word { text, quoted: word.quoted })
        });
        Ok(Entry { line: entry.line, indented: false, words: words.collect::<Result<_, String>>()? })
    };
    numbers.map(one).collect()
}

fn read_range(text: &str) -> Option<impl Iterator<Item = i64> + use<>> {
    let (range, step) = text.split_once('/').unwrap_or((text, "1"));
    let (start, stop) = range.split_once('-')?;
    let (start, stop, step): (u32, u32, u32) = (start.parse().ok()?, stop.parse().ok()?, step.parse().ok()?);
    let count = u64::from(stop.checked_sub(start)?).checked_div(u64::from(step))? + 1;
    let step = usize::try_from(step).ok()?;
    (count <= MOST).then(|| (i64::from(start)..=i64::from(stop)).step_by(step))
}

fn fill(text: &str, number: i64) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        let (before, tail) = rest.split_at_checked(at)?;
        filled.push_str(before);
        if let Some(after) = tail.strip_prefix("\\$") {
            filled.push('$');
            rest = after;
        } else if let Some(after) = tail.strip_prefix('\\') {
            // Any other escape is the name's own, with the character behind it.
            let mut chars = after.chars();
            filled.push('\\');
            filled.extend(chars.next());
            rest = chars.as_str();
        } else if let Some(after) = tail.strip_prefix("${") {
            let (modifier, after) = after.split_once('}')?;
            filled.push_str(&modified(modifier, number)?);
            rest = after;
        } else {
            filled.push_str(&number.to_string());
            rest = tail.strip_prefix('$')?;
        }
    }
    filled.push_str(rest);
    Some(filled)
}

fn modified(modifier: &str, number: i64) -> Option<String> {
    let mut parts = modifier.split(',');
    let offset: i64 = parts.next()?.trim().parse().ok()?;
    let width: usize = parts.next().map_or(Some(0), |width| width.trim().parse().ok())?;
    let base = parts.next().map_or("d", str::trim);
    let number = u32::try_from(number.checked_add(offset)?).ok()?;
    if width > 255 || parts.next().is_some() {
        return None;
    }
    Some(match base {
        "d" => format!("{number:0width$}"),
        "o" => format!("{number:0width$o}"),
        "x" => format!("{number:0width$x}"),
        "X" => format!("{number:0width$X}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::file::words::entries;

    fn lines(text: &str) -> Result<Vec<String>, String> {
        let entry = entries(text).unwrap().remove(0);
        let line = |entry: Entry| entry.words.iter().map(Word::written).collect::<Vec<_>>().join(" ");
        Ok(generate(&entry)?.into_iter().map(line).collect())
    }

    #[test]
    fn a_line_for_each_number() {
        assert_eq!(lines("$GENERATE 1-3 host$ A 10.0.0.$").unwrap()[2], "host3 A 10.0.0.3");
        assert_eq!(
            lines("$GENERATE 0-8/4 a${1,3,x} TXT \"\\$$\"").unwrap(),
            ["a001 TXT \"$0\"", "a005 TXT \"$4\"", "a009 TXT \"$8\""]
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["3-1 a A $", "1-2/0 a A $", "0-4000000000 a A $", "x a A $", "1-2 a$ A", "1-2 a${ A $"] {
            assert!(lines(&format!("$GENERATE {text}")).is_err(), "{text}");
        }
    }
}
