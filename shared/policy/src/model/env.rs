//! Environment variables that choose which code runs.

use super::EnvRule;

/// Variables (a trailing `*` is a prefix) that change how a program is loaded, found or started, and how.
///
/// From ld.so(8), bash(1), sh(1p), the manuals of the interpreters, git(1), openssl(1) and curl(1).
pub const STEERING_VARIABLES: &[(&str, &str)] = &[
    ("LD_*", "it makes the dynamic linker load other code"),
    ("GCONV_PATH", "it makes the C library load other code"),
    ("GLIBC_TUNABLES", "it changes the C library's own protections"),
    ("LOCPATH", "it makes the C library read other locale files"),
    ("NLSPATH", "it makes the C library read other message files"),
    ("MALLOC_*", "it changes the C library's own protections"),
    ("HOSTALIASES", "it changes what host names mean"),
    ("RES_OPTIONS", "it changes how host names are resolved"),
    ("LOCALDOMAIN", "it changes what host names mean"),
    ("RESOLV_*", "it changes how host names are resolved"),
    ("PATH", "it chooses which programs run"),
    ("IFS", "it changes how shells read commands"),
    ("ENV", "it makes shells run a file at start"),
    ("BASH_ENV", "it makes bash run a file at start"),
    ("BASH_FUNC_*", "it defines functions in bash"),
    ("SHELLOPTS", "it changes what bash does"),
    ("BASHOPTS", "it changes what bash does"),
    ("PS4", "bash evaluates it when tracing"),
    ("PROMPT_COMMAND", "bash runs it"),
    ("PYTHON*", "it makes Python load or run other code"),
    ("NODE_OPTIONS", "it makes Node.js load other code"),
    ("NODE_PATH", "it makes Node.js load other code"),
    ("NODE_EXTRA_CA_CERTS", "it changes whom Node.js trusts"),
    ("NODE_TLS_REJECT_UNAUTHORIZED", "it makes Node.js trust everybody"),
    ("JAVA_TOOL_OPTIONS", "it makes the Java machine load other code"),
    ("JDK_JAVA_OPTIONS", "it makes the Java machine load other code"),
    ("_JAVA_OPTIONS", "it makes the Java machine load other code"),
    ("CLASSPATH", "it makes the Java machine load other code"),
    ("PERL5*", "it makes Perl load or run other code"),
    ("PERLLIB", "it makes Perl load other code"),
    ("RUBYOPT", "it makes Ruby load other code"),
    ("RUBYLIB", "it makes Ruby load other code"),
    ("GEM_*", "it makes Ruby load other code"),
    ("BUNDLE_*", "it makes Ruby load other code"),
    ("PHPRC", "it makes PHP read another configuration"),
    ("PHP_INI_SCAN_DIR", "it makes PHP read another configuration"),
    ("LUA_*", "it makes Lua load or run other code"),
    ("DOTNET_STARTUP_HOOKS", "it makes .NET load other code"),
    ("DOTNET_ADDITIONAL_DEPS", "it makes .NET load other code"),
    ("CORECLR_*", "it makes .NET load other code"),
    ("COR_*", "it makes .NET load other code"),
    ("GIT_*", "it makes git run other programs"),
    ("SSL_CERT_FILE", "it changes whom programs trust"),
    ("SSL_CERT_DIR", "it changes whom programs trust"),
    ("OPENSSL_*", "it makes OpenSSL load other code"),
    ("CURL_CA_BUNDLE", "it changes whom curl trusts"),
    ("HTTP_PROXY", "it sends traffic elsewhere"),
    ("HTTPS_PROXY", "it sends traffic elsewhere"),
    ("ALL_PROXY", "it sends traffic elsewhere"),
    ("http_proxy", "it sends traffic elsewhere"),
    ("https_proxy", "it sends traffic elsewhere"),
    ("all_proxy", "it sends traffic elsewhere"),
    ("EDITOR", "programs run it"),
    ("VISUAL", "programs run it"),
    ("PAGER", "programs run it"),
    ("BROWSER", "programs run it"),
    ("SHELL", "programs run it"),
    ("TERMCAP", "it changes what is sent to terminals"),
    ("TERMINFO*", "it changes what is sent to terminals"),
];

/// The first of [`STEERING_VARIABLES`] that a name, or a prefix with a trailing `*`, covers, and the reason.
pub fn steering_variable(pattern: &str) -> Option<(&'static str, &'static str)> {
    STEERING_VARIABLES
        .iter()
        .copied()
        .find(|(variable, _)| overlap(pattern, variable))
}

fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_suffix('*'), b.strip_suffix('*')) {
        (None, None) => a == b,
        (Some(prefix), None) => b.starts_with(prefix),
        (None, Some(prefix)) => a.starts_with(prefix),
        (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
    }
}

impl EnvRule {
    /// Whether `allow` lets the variable have any value. Never true of one that chooses which code runs.
    pub fn allows(&self, name: &str) -> bool {
        let covered = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        };
        self.allow.iter().any(covered) && steering_variable(name).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_that_reach_a_steering_variable_are_found() {
        for pattern in [
            "LD_*",
            "LD_PRELOAD",
            "L*",
            "PATH",
            "PA*",
            "PYTHONPATH",
            "PYTHONX*",
            "*",
            "EN*",
        ] {
            assert!(steering_variable(pattern).is_some(), "{pattern}");
        }
        for pattern in [
            "PATHS",
            "PAYMENTS_*",
            "TZ",
            "LANG",
            "PATH_*",
            "ENVIRONMENT",
            "MY_LD_*",
        ] {
            assert_eq!(steering_variable(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn allow_never_covers_a_steering_variable() {
        let rule = EnvRule {
            allow: ["*".to_owned(), "PATH".to_owned()].into(),
            ..EnvRule::default()
        };
        assert!(rule.allows("TZ"));
        assert!(!rule.allows("PATH") && !rule.allows("LD_AUDIT"));
    }
}
