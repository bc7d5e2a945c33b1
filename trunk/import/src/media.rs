//! Media types by file extension; contents are never sniffed.

use crate::path::extension;

/// What an unknown file is.
const UNKNOWN: &str = "application/octet-stream";

/// The media type that belongs to the extension of `path`.
pub(crate) fn media_type(path: &str) -> &'static str {
    match extension(path).as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "heic" => "image/heic",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" | "oga" => "audio/ogg",
        "opus" => "audio/opus",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "amr" => "audio/amr",
        "3gp" => "audio/3gpp",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mov" => "video/quicktime",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "json" | "canvas" => "application/json",
        "csv" => "text/csv",
        "txt" => "text/plain",
        "md" | "markdown" => "text/markdown",
        "html" | "htm" => "text/html",
        _ => UNKNOWN,
    }
}

/// Takes a media type that a source states, if it looks like one.
pub(crate) fn stated_media_type(stated: &str) -> Option<String> {
    let token = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.len() <= 64 && part.bytes().all(allowed)
    };
    let (kind, rest) = stated.split_once('/')?;
    (token(kind) && token(rest)).then(|| stated.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_follow_extensions_and_ignore_nonsense() {
        assert_eq!(media_type("a/B.PNG"), "image/png");
        assert_eq!(media_type("a/b"), UNKNOWN);
        assert_eq!(stated_media_type("Image/PNG").as_deref(), Some("image/png"));
        assert_eq!(stated_media_type("image/png; x=<script>"), None);
        assert_eq!(stated_media_type("image"), None);
    }
}
