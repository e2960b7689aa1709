//! The signature base (RFC 9421 section 2.5): the text that is signed.

use super::RequestParts;

/// What a signature may cover here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Component {
    /// RFC 9421 section 2.2.1.
    Method,
    /// RFC 9421 section 2.2.6.
    Path,
    /// RFC 9421 section 2.2.7.
    Query,
    /// RFC 9530 section 2.
    ContentDigest,
}

impl Component {
    pub(super) const ALL: [Self; 4] = [Self::Method, Self::Path, Self::Query, Self::ContentDigest];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Method => "@method",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::ContentDigest => "content-digest",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|component| component.name() == name)
    }
}

/// What has to be covered of a request.
pub(super) fn required(request: &RequestParts<'_>) -> &'static [Component] {
    match request.query {
        None => &[Component::Method, Component::Path, Component::ContentDigest],
        Some(_) => &Component::ALL,
    }
}

/// The covered components with their values. An absent query has the value `?` (RFC 9421 section 2.2.7).
pub(super) fn lines<'a>(
    request: &RequestParts<'a>,
    content_digest: &'a str,
    covered: &[Component],
) -> Vec<(&'static str, String)> {
    covered
        .iter()
        .map(|component| {
            let value = match component {
                Component::Method => request.method.to_owned(),
                Component::Path => request.path.to_owned(),
                Component::Query => format!("?{}", request.query.unwrap_or_default()),
                Component::ContentDigest => content_digest.to_owned(),
            };
            (component.name(), value)
        })
        .collect()
}

/// One line per component, and the parameters of the signature as the last line, without a line break at its end. The
/// values hold no line breaks: whoever calls this has checked them.
pub(super) fn assemble(lines: &[(&str, String)], parameters: &str) -> String {
    let mut text = String::new();
    for (name, value) in lines {
        text.push('"');
        text.push_str(name);
        text.push_str("\": ");
        text.push_str(value);
        text.push('\n');
    }
    text.push_str("\"@signature-params\": ");
    text.push_str(parameters);
    text
}
