//! Numbers and times as people read them.

/// Seconds since 1970 as a date, in UTC.
pub fn date(time: f64) -> String {
    let seconds = time.max(0.0).floor() as i64;
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 1970 to a date: March is the first month, so that the leap day is the last day of a year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {}", clock_of(rest))
}

/// The time of day, in UTC.
pub fn clock(time: f64) -> String {
    clock_of((time.max(0.0).floor() as i64).rem_euclid(86_400))
}

/// The same, to the millisecond.
pub fn clock_ms(time: f64) -> String {
    let thousandths = (time.max(0.0) * 1000.0).round() as i64;
    format!("{}.{:03}", clock((thousandths / 1000) as f64), thousandths % 1000)
}

fn clock_of(seconds: i64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A duration given in seconds, in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{} ms", short(s * 1e3)),
        s if s < 120.0 => format!("{} s", short(s)),
        s if s < 7200.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0} h {:.0} min", (s / 3600.0).floor(), (s / 60.0 % 60.0).floor()),
    }
}

/// A number to three places that count.
pub fn short(number: f64) -> String {
    let text = match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A count, in thousands where it is large.
pub fn count(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{} G", short(n / 1e9)),
        n if n >= 1e6 => format!("{} M", short(n / 1e6)),
        n if n >= 1e4 => format!("{} k", short(n / 1e3)),
        n => short(n),
    }
}

/// Bytes.
pub fn bytes(number: f64) -> String {
    match number {
        n if n >= 1_073_741_824.0 => format!("{} GiB", short(n / 1_073_741_824.0)),
        n if n >= 1_048_576.0 => format!("{} MiB", short(n / 1_048_576.0)),
        n if n >= 1024.0 => format!("{} KiB", short(n / 1024.0)),
        n => format!("{} B", short(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_about_leap_years() {
        assert_eq!(date(0.0), "1970-01-01 00:00:00");
        assert_eq!(date(951_782_400.5), "2000-02-29 00:00:00");
        assert_eq!(date(1_795_584_735.635), "2026-11-25 05:32:15");
        assert_eq!(date(4_107_542_400.0), "2100-03-01 00:00:00");
        assert_eq!(clock_ms(1_795_584_735.635), "05:32:15.635");
    }

    #[test]
    fn numbers_have_the_unit_that_suits_them() {
        assert_eq!(duration(0.000_232), "232 µs");
        assert_eq!(duration(0.009_745), "9.75 ms");
        assert_eq!(duration(3725.0), "62 min 5 s");
        assert_eq!((count(1_250_000.0), count(100.0)), ("1.25 M".into(), "100".into()));
        assert_eq!((bytes(1536.0), bytes(0.0)), ("1.5 KiB".into(), "0 B".into()));
    }
}
