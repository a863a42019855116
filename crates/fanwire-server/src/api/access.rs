//! Access: which requests the API answers.
//!
//! In      the file of tokens, a request's headers
//! Out     yes, or what is missing
//! Bounds  a file of `FILE_BYTES_MAX`; a check costs as much whatever the request says
//! Source  RFC 6750 sections 2.1 and 3
//!
//! Tokens are neither printed nor logged anywhere.

use std::{fmt, fs::File, io::Read as _, path::Path};

use subtle::ConstantTimeEq as _;

use crate::args::Args;

/// Who may use the API.
pub(crate) struct Access {
    /// None: whoever reaches it.
    tokens: Vec<Box<[u8]>>,
}

impl Access {
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        let tokens = args.api_token_file.as_deref().map_or(Ok(Vec::new()), read)?;
        Ok(Self { tokens })
    }

    /// Whether tokens are asked for at all.
    pub(crate) fn is_guarded(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Whether this value of `Authorization` opens it.
    pub(crate) fn allows(&self, authorization: Option<&[u8]>) -> bool {
        if !self.is_guarded() {
            return true;
        }
        let Some(token) = authorization.and_then(token_of) else { return false };
        // All are compared, so that the time does not tell which one was nearly right.
        let fits = self.tokens.iter().fold(0, |fits, known| fits | token.ct_eq(known).unwrap_u8());
        fits == 1
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("tokens", &self.tokens.len()).finish()
    }
}

fn token_of(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

fn read(path: &Path) -> Result<Vec<Box<[u8]>>, String> {
    let shown = path.display();
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("api_token_file: cannot open {shown}: {error}"))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("api_token_file: cannot read {shown}: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "api_token_file: {shown} is longer than {FILE_BYTES_MAX} bytes: is it the right file?"
        ));
    }
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let tokens: Vec<_> = lines.collect();
    let is_plain = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
    // The number is enough: the line is a secret.
    if let Some((index, _)) =
        tokens.iter().find(|(_, token)| token.len() < TOKEN_BYTES_MIN || !is_plain(token))
    {
        return Err(format!(
            "api_token_file: line {} of {shown} is no token: give {TOKEN_BYTES_MIN} or more characters of ASCII \
             without spaces, such as `openssl rand -hex 32` makes",
            index + 1
        ));
    }
    if tokens.is_empty() {
        return Err(format!("api_token_file: {shown} holds no token: give one per line"));
    }
    Ok(tokens.into_iter().map(|(_, token)| token.as_bytes().into()).collect())
}

const SCHEME: &[u8] = b"Bearer ";

/// Shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

const FILE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn access(tokens: &[&str]) -> Access {
        Access { tokens: tokens.iter().map(|token| token.as_bytes().into()).collect() }
    }

    #[test]
    fn one_of_the_tokens_opens_it_and_nothing_else() {
        let access = access(&["first-first-first", "second-second-second"]);
        for token in ["Bearer first-first-first", "bearer second-second-second", "BEARER  first-first-first "]
        {
            assert!(access.allows(Some(token.as_bytes())), "{token}");
        }
        for token in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer first-first-firs",
            "first-first-first",
            "Basic first-first-first",
        ] {
            assert!(!access.allows(Some(token.as_bytes())), "{token}");
        }
        assert!(!access.allows(None));
    }

    #[test]
    fn without_tokens_everybody_is_let_in() {
        assert!(access(&[]).allows(None) && !access(&[]).is_guarded());
    }

    #[test]
    fn what_is_shown_for_debugging_holds_no_token() {
        assert_eq!(format!("{:?}", access(&["first-first-first"])), "Access { tokens: 1 }");
    }
}
