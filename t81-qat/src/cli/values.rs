//! Values of flags that are numbers, checked.

pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_string()),
        Ok(value) => Ok(value),
        Err(_) => Err("not a whole number".to_string()),
    }
}

pub(super) fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("not a number".to_string()),
    }
}

pub(super) fn non_negative_number(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| match value {
        value if value < 0.0 => Err("must not be negative".to_string()),
        value => Ok(value),
    })
}

pub(super) fn positive_number(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| match value {
        value if value <= 0.0 => Err("must be above 0".to_string()),
        value => Ok(value),
    })
}

pub(super) fn learning_rate(text: &str) -> Result<f64, String> {
    positive_number(text).and_then(|value| match value {
        value if value > 1.0 => Err("must be at most 1".to_string()),
        value => Ok(value),
    })
}

pub(super) fn fraction(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("must lie within 0..=1".to_string()),
    }
}

pub(super) fn non_negative_float(text: &str) -> Result<f32, String> {
    non_negative_number(text).map(|value| value as f32)
}

pub(super) fn positive_float(text: &str) -> Result<f32, String> {
    positive_number(text).map(|value| value as f32)
}

pub(super) fn positive_fraction(text: &str) -> Result<f32, String> {
    fraction(text).and_then(|value| match value {
        0.0 => Err("must be above 0".to_string()),
        value => Ok(value),
    })
}
