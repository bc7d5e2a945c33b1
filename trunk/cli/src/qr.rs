//! A QR code as text, two rows of squares per line.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The code for a terminal with light text on dark ground, or nothing if `text` is too long. On
/// light ground it comes out inverted, which readers take as well.
pub(crate) fn half_blocks(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let mut drawing = code.render::<Dense1x2>();
    // What is printed lights up, so the light squares are the ones to print.
    Some(drawing.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linking_code_fits_a_small_terminal() {
        let drawn = half_blocks(&"7".repeat(94)).unwrap();
        assert!(drawn.lines().count() <= 24, "{} lines", drawn.lines().count());
        assert!(drawn.lines().all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn the_quiet_border_is_light() {
        let drawn = half_blocks("hello").unwrap();
        assert!(drawn.lines().next().unwrap().chars().all(|square| square == '█'));
    }

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        assert!(half_blocks(&"x".repeat(5_000)).is_none());
    }
}
