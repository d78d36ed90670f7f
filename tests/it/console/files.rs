//! The page's files as they are served: small, from here alone, and asked for anew only when they changed.

use holdfast::console;
use hyper::Method;

use crate::support::TestApp;

/// What the page may weigh, all files together.
const BYTES_MAX: usize = 150 * 1024;

#[tokio::test]
async fn the_page_needs_no_key_and_is_served_under_a_policy_that_allows_nothing_from_elsewhere() {
    let app = TestApp::without_redis().await;
    let anyone = app.client.with_key("");
    for path in console::paths() {
        let file = anyone.send(Method::GET, &path, &[], "").await.unwrap().expect(200);
        let policy = file.header("content-security-policy").unwrap();
        assert!(
            policy
                .starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
        );
        for part in
            ["img-src 'self' data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(file.header("referrer-policy"), Some("no-referrer"));
        let media_type = file.header("content-type").unwrap();
        let expected = match path.rsplit_once('.').map(|(_, kind)| kind) {
            None => "text/html",
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            Some(_) => "image/svg+xml",
        };
        assert!(media_type.starts_with(expected), "{path}: {media_type}");
    }
    for unknown in ["/console/", "/console/mod.rs", "/console/page/app.js", "/console/..%2fapp.js"] {
        anyone.send(Method::GET, unknown, &[], "").await.unwrap().expect(404);
    }
    anyone.send(Method::POST, "/", &[], "").await.unwrap().expect(405);
    app.finish().await;
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let app = TestApp::without_redis().await;
    let anyone = app.client.with_key("");
    let first = anyone.send(Method::GET, "/console/app.js", &[], "").await.unwrap().expect(200);
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let etag = first.header("etag").unwrap();
    for known in [etag.to_owned(), format!("\"other\", W/{etag}")] {
        let headers = [("if-none-match", known.as_str())];
        let again = anyone.send(Method::GET, "/console/app.js", &headers, "").await.unwrap().expect(304);
        assert!(again.bytes.is_empty());
        assert_eq!(again.header("etag"), Some(etag));
    }
    let headers = [("if-none-match", "\"other\"")];
    let other = anyone.send(Method::GET, "/console/app.js", &headers, "").await.unwrap().expect(200);
    assert_eq!(other.bytes, first.bytes);
    app.finish().await;
}

#[tokio::test]
async fn the_whole_page_is_small_and_has_nothing_that_its_policy_forbids() {
    let app = TestApp::without_redis().await;
    let mut bytes = 0;
    for path in console::paths() {
        let file = app.client.send(Method::GET, &path, &[], "").await.unwrap().expect(200);
        bytes += file.bytes.len();
        let text = String::from_utf8(file.bytes.to_vec()).unwrap();
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            " style=",
        ] {
            assert!(!text.contains(forbidden), "{path} has {forbidden}");
        }
        let elsewhere = text.matches("://").count() - text.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(elsewhere, 0, "{path} names another host");
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    app.finish().await;
}
