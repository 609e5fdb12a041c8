//! Names of splits with slices, as the Python library `datasets` writes them: `train`, `train[:1000]`, `train[10%:20%]`.

use std::ops::Range;

use crate::error::DataError;

/// A split, or some of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SplitSelection {
    pub(crate) name: String,
    from: Option<Boundary>,
    to: Option<Boundary>,
}

/// Where a slice begins or ends; what is negative counts from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boundary {
    Row(i64),
    Percent(i64),
}

impl SplitSelection {
    /// A whole split.
    pub(crate) fn whole(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            from: None,
            to: None,
        }
    }

    /// Reads `NAME`, `NAME[FROM:TO]`, where each end may be missing, a number of rows or a percentage.
    pub(crate) fn parse(text: &str) -> Result<Self, DataError> {
        let malformed = |reason: &str| DataError::SplitSyntax {
            split: text.to_owned(),
            reason: reason.to_owned(),
        };
        if text.contains('+') {
            return Err(malformed("only one split can be read"));
        }
        let Some((name, slice)) = text.split_once('[') else {
            if text.is_empty() || text.contains([']', ':', '%']) {
                return Err(malformed("expected NAME or NAME[FROM:TO]"));
            }
            return Ok(Self::whole(text));
        };
        let bounds = slice
            .strip_suffix(']')
            .and_then(|slice| slice.split_once(':'));
        let (Some((from, to)), false) = (bounds, name.is_empty()) else {
            return Err(malformed("expected NAME[FROM:TO]"));
        };
        let boundary = |text: &str| match text.trim() {
            "" => Ok(None),
            text => Boundary::parse(text).map(Some).ok_or_else(|| {
                malformed("FROM and TO are rows, or percentages from -100% to 100%")
            }),
        };
        Ok(Self {
            name: name.to_owned(),
            from: boundary(from)?,
            to: boundary(to)?,
        })
    }

    /// Whether it is all of the split.
    pub(crate) fn is_whole(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether the rows follow only from the number of rows in the split.
    pub(crate) fn needs_total(&self) -> bool {
        let counts = |boundary: &Boundary| !matches!(boundary, Boundary::Row(0..));
        self.from.iter().chain(&self.to).any(counts)
    }

    /// The rows of a split of `total` rows, or of one with at least as many as asked for.
    pub(crate) fn rows(&self, total: u64) -> Range<u64> {
        let from = self.from.map_or(0, |from| from.row(total));
        let to = self.to.map_or(total, |to| to.row(total));
        from.min(to)..to
    }
}

impl Boundary {
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'_');
            plain.then(|| text.replace('_', "").parse::<i64>().ok())?
        };
        match text.strip_suffix('%') {
            Some(percent) => number(percent)
                .filter(|percent| (-100..=100).contains(percent))
                .map(Self::Percent),
            None => number(text).map(Self::Row),
        }
    }

    /// The row, rounded to the nearest and to the even one of two.
    fn row(self, total: u64) -> u64 {
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        let row = match self {
            Self::Row(row) => row,
            Self::Percent(percent) => {
                (percent as f64 * total as f64 / 100.0).round_ties_even() as i64
            }
        };
        let row = if row < 0 {
            total.saturating_add(row)
        } else {
            row
        };
        row.clamp(0, total) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, total: u64) -> Range<u64> {
        SplitSelection::parse(text).unwrap().rows(total)
    }

    #[test]
    fn slices_select_rows() {
        for (text, expected) in [
            ("train", 0..95),
            ("train[:]", 0..95),
            ("train[:10]", 0..10),
            ("train[10:20]", 10..20),
            ("train[-10:]", 85..95),
            ("train[:-10]", 0..85),
            ("train[:1_000]", 0..95),
            ("train[200:]", 95..95),
            ("train[20:10]", 10..10),
            // 9.5 and 28.5 go to the even row.
            ("train[:10%]", 0..10),
            ("train[30%:]", 28..95),
            ("train[-10%:]", 85..95),
            ("train[:100%]", 0..95),
        ] {
            assert_eq!(rows(text, 95), expected, "{text}");
        }
        assert_eq!(SplitSelection::parse("train[:5]").unwrap().name, "train");
    }

    #[test]
    fn only_some_slices_need_the_number_of_rows() {
        for (text, needs) in [
            ("train", false),
            ("train[3:9]", false),
            ("train[0:]", false),
            ("train[-3:]", true),
            ("train[:1%]", true),
        ] {
            assert_eq!(SplitSelection::parse(text).unwrap().needs_total(), needs);
        }
        assert!(SplitSelection::parse("a").unwrap().is_whole());
        assert!(!SplitSelection::parse("a[1:]").unwrap().is_whole());
    }

    #[test]
    fn malformed_slices_are_refused() {
        for text in [
            "", "[1:2]", "a[", "a[]", "a[1]", "a[1:2", "a[1:2]x", "a[x:]", "a[:101%]", "a[:1.5%]",
            "a+b", "a]", "a[:--1]", "a[:%]",
        ] {
            let error = SplitSelection::parse(text).unwrap_err();
            assert!(
                matches!(&error, DataError::SplitSyntax { split, .. } if split == text),
                "{text}"
            );
        }
    }
}
