//! Points in time as text: RFC 3339 in UTC, which is what a date attribute is.

/// `nanoseconds` since the Unix epoch as `2024-05-01T12:00:00Z`, with as many decimals of a second as it takes, none, three, six
/// or nine. Years before 0 or after 9999, which RFC 3339 has no digits for, are `None`.
pub(super) fn rfc3339(nanoseconds: i128) -> Option<String> {
    const SECOND: i128 = 1_000_000_000;
    let (seconds, fraction) = (nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(i64::try_from(days).ok()?)?;
    let fraction = match fraction {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Howard Hinnant's `civil_from_days` (howardhinnant.github.io/date_algorithms.html): years are counted from the first of March,
/// so the leap day comes last, and in eras of 400 years, which are all alike.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (0..=9999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (nanoseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (1_714_564_800_123_000_000, "2024-05-01T12:00:00.123Z"),
            (1_714_564_800_000_001_000, "2024-05-01T12:00:00.000001Z"),
            (-62_167_219_200_000_000_000, "0000-01-01T00:00:00Z"),
            (253_402_300_799_000_000_000, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(nanoseconds).as_deref(), Some(text));
        }
        assert_eq!(rfc3339(253_402_300_800_000_000_000), None);
        assert_eq!(rfc3339(i128::MAX), None);
        assert_eq!(rfc3339(i128::MIN), None);
    }

    #[test]
    fn days_follow_one_another() {
        let mut before = civil(-719_528).unwrap();
        assert_eq!(before, (0, 1, 1));
        for days in -719_527..200_000 {
            let now = civil(days).unwrap();
            let next_day = now == (before.0, before.1, before.2 + 1);
            let next_month = now == (before.0, before.1 + 1, 1) && before.2 >= 28;
            let next_year = now == (before.0 + 1, 1, 1) && (before.1, before.2) == (12, 31);
            assert!(next_day || next_month || next_year, "{before:?} then {now:?}");
            before = now;
        }
    }
}
