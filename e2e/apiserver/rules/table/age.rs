//! Durations as people read them (`k8s.io/apimachinery/pkg/util/duration`).

use jiff::Timestamp;

/// How long ago a point in time is; `<unknown>` for none.
pub fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human(now.duration_since(time).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Seconds in one or two units, coarser the longer it is.
pub fn human(seconds: i64) -> String {
    const YEAR: i64 = 365 * 24;
    // One second back is a clock that is a little off.
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |big: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, 'm', seconds % 60, 's')
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, 'h', minutes % 60, 'm')
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 8 * 24 {
        two(hours / 24, 'd', hours % 24, 'h')
    } else if hours < 2 * YEAR {
        format!("{}d", hours / 24)
    } else if hours < 8 * YEAR {
        two(hours / YEAR, 'y', (hours / 24) % 365, 'd')
    } else {
        format!("{}y", hours / YEAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_kubectl_shows_them() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (179 * 60, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 60, "3h1m"),
            (8 * HOUR + 60, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (731 * DAY, "2y1d"),
            (9 * 365 * DAY, "9y"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn from_timestamps() {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(since("2026-01-01T00:00:30Z", now), "30s");
        assert_eq!(since("2026-01-01T00:00:30.500000Z", now), "29s");
        assert_eq!(since("", now), "<unknown>");
    }
}
