//! `/openapi.json` and the page that shows it; its scripts are in this binary.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::Config;

use super::Api;
use super::problem::{self, Problem};

/// The page's own scripts and styles, and nothing from elsewhere.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Its files stand one level below it, since a path never ends in a slash here.
const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Vigil API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/swagger-initializer.js"></script>
</body>
</html>
"#;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(page))
        .routes(routes!(asset))
        .routes(routes!(redoc))
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn openapi(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.document.as_ref().to_owned()).into_response()
}

/// The description as a page to read and try.
#[utoipa::path(get, path = "/docs", tag = "service", security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
async fn page() -> Response {
    with_policy(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response())
}

/// A file of that page.
#[utoipa::path(get, path = "/docs/{file}", tag = "service", security(()),
    params(("file" = String, Path, description = "Its name")),
    responses((status = 200, description = "A script, a style or an image", body = String, content_type = "application/octet-stream"),
        (status = 404, description = "No such file", body = problem::Body)))]
async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let (bytes, kind) = file(&name)?;
    Ok(with_policy((StatusCode::OK, [(header::CONTENT_TYPE, kind)], bytes).into_response()))
}

/// Where other tools look for the page.
#[utoipa::path(get, path = "/redoc", tag = "service", security(()),
    responses((status = 307, description = "It is at /docs")))]
async fn redoc() -> Redirect {
    Redirect::temporary("/docs")
}

fn file(name: &str) -> Result<(Vec<u8>, String), Problem> {
    let config = Arc::new(Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(name, config) {
        Ok(Some(file)) => Ok((file.bytes.to_vec(), file.content_type)),
        Ok(None) => Err(Problem::missing("Not Found")),
        Err(wrong) => {
            tracing::error!(error = %wrong, "the page of the description can't be made");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong inside Vigil"))
        }
    }
}

fn with_policy(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(PAGE_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// The description as text, made once at the start.
pub(super) fn text(document: &utoipa::openapi::OpenApi) -> Arc<str> {
    match document.to_json() {
        Ok(text) => text.into(),
        Err(wrong) => {
            tracing::error!(error = %wrong, "the description can't be written");
            "{}".into()
        }
    }
}
