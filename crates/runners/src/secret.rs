//! Secrets are references, read when a request is built, and shown nowhere.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Reads `env:NAME` or `file:PATH` as the value of `Authorization: Bearer`.
///
/// # Errors
/// Says which reference cannot be read, never what it holds.
pub(crate) fn bearer(reference: &str) -> Result<HeaderValue, String> {
    let secret = read(reference)?;
    let header = SecretString::from(format!("Bearer {}", secret.expose_secret()));
    let mut value = HeaderValue::from_str(header.expose_secret())
        .map_err(|_| format!("the token of {reference} holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(reference: &str) -> Result<SecretString, String> {
    let text = if let Some(name) = reference.strip_prefix("env:") {
        std::env::var(name).map_err(|_| format!("the token's variable {name} is not set"))?
    } else if let Some(path) = reference.strip_prefix("file:") {
        std::fs::read_to_string(path).map_err(|e| format!("the token's file {path}: {e}"))?
    } else {
        // Not repeated: somebody may have written the secret itself.
        return Err("a token is given as env:NAME or file:PATH".to_owned());
    };
    let text = SecretString::from(text);
    match text.expose_secret().trim() {
        "" => Err(format!("the token of {reference} is empty")),
        token => Ok(SecretString::from(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_its_file_trimmed_and_is_not_shown() {
        let path = std::env::temp_dir().join(format!("paramedic-token-{}", std::process::id()));
        std::fs::write(&path, "s3cr3t\n").unwrap();
        let value = bearer(&format!("file:{}", path.display())).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(value.as_bytes(), b"Bearer s3cr3t");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }

    #[test]
    fn what_cannot_be_read_is_told_without_what_it_holds() {
        assert_eq!(bearer("s3cr3t").unwrap_err(), "a token is given as env:NAME or file:PATH");
        assert_eq!(
            bearer("env:PARAMEDIC_NO_SUCH_TOKEN").unwrap_err(),
            "the token's variable PARAMEDIC_NO_SUCH_TOKEN is not set"
        );
        assert!(bearer("file:/no/such/token").unwrap_err().starts_with("the token's file /no/such/token: "));
    }
}
