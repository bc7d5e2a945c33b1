//! Questions to the person. Only on a terminal; each has a flag that answers it.

use crate::context::Context;
use rhizome_api::{ApiError, Problem, Secret};
use std::io::{BufRead, Read};
use std::path::Path;

/// The most that is read from a file of secrets: 24 words many times over.
const SECRET_BYTES_MAX: u64 = 16 << 10;

/// The most that is read as one document: what the pod takes, with room for spaces and escapes.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;

/// Asks for the recovery kit.
pub(crate) const KIT_QUESTION: &str = "Type the 24 words or the code of your recovery kit:";

/// Asks for a line. `flag` is what answers it without a terminal.
pub(crate) async fn line(
    context: &Context,
    question: &str,
    flag: &str,
) -> Result<String, ApiError> {
    if !context.may_ask() {
        let message = format!("no terminal to ask on: {question}");
        return Err(ApiError::new(Problem::NEEDS_ANSWER, message).hint(format!("… {flag}")));
    }
    context.ask(question);
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|read| (read, line))
    });
    let (read, line) =
        read.await.expect("reading a line does not panic").map_err(|error| unreadable(&error))?;
    if read == 0 {
        return Err(ApiError::new(Problem::INTERRUPTED, "no answer"));
    }
    Ok(line.trim().to_owned())
}

/// Asks yes or no; no is what silence means. `--yes` answers it.
pub(crate) async fn confirm(context: &Context, question: &str) -> Result<(), ApiError> {
    if context.yes {
        return Ok(());
    }
    let answer = line(context, &format!("{question} [y/N]"), "--yes").await?;
    if matches!(answer.to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(ApiError::new(Problem::INTERRUPTED, "nothing was changed"))
}

/// Takes a secret from a file, from standard input (`-`), or from the person.
pub(crate) async fn secret(
    context: &Context,
    file: Option<&Path>,
    question: &str,
    flag: &str,
) -> Result<Secret, ApiError> {
    let text = match file {
        None => line(context, question, flag).await?,
        Some(path) => read_text(path)?,
    };
    Ok(Secret(text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Reads a small file, or standard input for `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, ApiError> {
    read_bounded(path, SECRET_BYTES_MAX)
}

/// Reads a file that holds a document, or standard input for `-`.
pub(crate) fn read_document(path: &Path) -> Result<String, ApiError> {
    read_bounded(path, DOCUMENT_BYTES_MAX)
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<String, ApiError> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(bytes_max + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text))
    };
    read.map_err(|source| {
        let message = format!("file {} cannot be read", path.display());
        ApiError::new(Problem::LOCAL_FILE, message).caused_by(&source)
    })?;
    if text.len() as u64 > bytes_max {
        let message = format!("file {} is larger than {bytes_max} bytes", path.display());
        return Err(ApiError::new(Problem::TOO_LARGE, message));
    }
    Ok(text)
}

fn unreadable(source: &std::io::Error) -> ApiError {
    ApiError::new(Problem::LOCAL_FILE, "terminal cannot be read").caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_terminal_a_question_names_the_flag_that_answers_it() {
        let context = Context::for_tests();
        let error = line(&context, "Name?", "--name NAME").await.unwrap_err();
        assert_eq!((error.exit, error.hint.as_deref()), (2, Some("… --name NAME")));
    }

    #[tokio::test]
    async fn yes_answers_and_silence_does_not() {
        let mut context = Context::for_tests();
        assert!(confirm(&context, "Sure?").await.is_err());
        context.yes = true;
        assert!(confirm(&context, "Sure?").await.is_ok());
    }

    #[tokio::test]
    async fn a_secret_comes_from_a_file_whatever_its_line_breaks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        std::fs::write(&path, "abandon  ability\nable\n").unwrap();
        let secret = secret(&Context::for_tests(), Some(&path), "Words?", "--words-file").await;
        assert_eq!(secret.unwrap().expose(), "abandon ability able");
        let missing = read_text(&dir.path().join("none")).unwrap_err();
        assert_eq!(missing.id, "RZ-0008");
        std::fs::write(&path, vec![b'x'; 20 << 10]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().id, "RZ-0112");
    }
}
