import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";

const log = logger("http");

export type Fetch = (request: Request) => Response | Promise<Response>;

/** Connections on which nothing goes for so long are closed; a quiet stream of events gives a sign of life before. */
const IDLE_SECONDS = 60;
/** bytes; what takes a body sets itself a smaller limit */
const MOST_BODY = 64 * 1024;

/**
 * What all of the agent's servers have in common. Whatever goes wrong is answered as JSON: Bun's own page about an error
 * tells everybody of the source, the stack and the folder.
 */
export function serverOptions(fetch: Fetch) {
  return {
    // A Host header may make the request's URL one that can't be read.
    fetch: (request: Request) =>
      URL.canParse(request.url, "http://localhost")
        ? fetch(request)
        : Response.json({ error: "the request's Host header or path can't be read" }, { status: 400 }),
    error: (error: Error) => {
      log.error("a request failed: {error}", { error: describeError(error) });
      return Response.json({ error: "the agent failed to answer; its log says why" }, { status: 500 });
    },
    development: false,
    idleTimeout: IDLE_SECONDS,
    maxRequestBodySize: MOST_BODY,
  };
}
