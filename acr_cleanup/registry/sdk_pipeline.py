"""
The SDK's client of one registry, and the policies of it through which raw requests are sent.

See docs/decisions/0003-raw-requests-through-the-sdk-pipeline.md.
"""

from __future__ import annotations

from typing import Any, cast

from azure.containerregistry.aio import ContainerRegistryClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline import AsyncPipeline, PipelineContext, PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy, HttpLoggingPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from acr_cleanup.registry.tokens import RegistryTokens
from acr_cleanup.registry.transport import Transport


def sdk_client(
    login_server: str,
    credential: AsyncTokenCredential,
    transport: Transport,
    tokens: RegistryTokens,
    *,
    audience: str,
    user_agent: str,
) -> ContainerRegistryClient:
    """The SDK's client, with our token policy and without the policies that are not needed."""
    return ContainerRegistryClient(
        f"https://{login_server}",
        credential,
        audience=audience,
        transport=transport,
        per_call_policies=[tokens],
        # Only pace.py repeats requests. The registry never redirects our requests; a captive
        # portal does.
        retry_policy=_PassThrough(),
        redirect_policy=_PassThrough(),
        # The transport knows its proxy. Extra headers, hooks and network traces are not used.
        proxy_policy=_PassThrough(),
        headers_policy=_PassThrough(),
        custom_hook_policy=_PassThrough(),
        logging_policy=_PassThrough(),
        user_agent=user_agent,
    )


class _PassThrough(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Replaces a policy of the SDK that is not needed and would cost CPU for every request."""

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        return await self.next.send(request)


class Pipeline:
    """
    The policies that a raw request needs: our tokens, and the challenge flow of the SDK's client.

    All policies of the client take three times the CPU. The others have no effect on a raw request,
    except the one that logs requests. It is added if that log is shown.
    """

    def __init__(self, client: ContainerRegistryClient, transport: Transport, tokens: RegistryTokens) -> None:
        # The SDK offers neither of the two publicly.
        challenges, config = client._auth_policy, cast("Any", client._client._config)  # noqa: SLF001
        self.user_agent: str = config.user_agent_policy.user_agent
        log = HttpLoggingPolicy()
        policies: list[Any] = [tokens, challenges]
        if log.logger.isEnabledFor(log.http_logging_level):
            policies.append(log)
        # It links the policies. Its `run` is not used: it would prepare a multipart body first.
        AsyncPipeline[HttpRequest, AsyncHttpResponse](transport, policies)
        self._first, self._transport = tokens, transport

    async def send(self, request: HttpRequest) -> AsyncHttpResponse:
        """Send a request. The body of the response is not read."""
        # Not streamed, the SDK would parse every page with the standard library first.
        context = PipelineContext(self._transport, stream=True)
        return (await self._first.send(PipelineRequest(request, context))).http_response
