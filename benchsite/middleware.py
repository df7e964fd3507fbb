"""What the demo project adds to every response."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.deprecation import MiddlewareMixin

from redisdict.exceptions import BackendUnavailable

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Send the strictest policy that a page with scripts and styles of its own can live with.

    Django 6.0 brings such a middleware along; this one also runs on Django 5.2.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        is_debug_page = settings.DEBUG and response.status_code in (404, 500)
        if not is_debug_page:  # Django's own debug pages are made of inline styles and scripts
            response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response


class ServerDownMiddleware(MiddlewareMixin):
    """Answer 503 with the reason, instead of a traceback, while the dict's server is away."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, BackendUnavailable):
            return None
        return TemplateResponse(
            request, "benchsite/unavailable.html", {"reason": str(exception)}, status=503
        ).render()
