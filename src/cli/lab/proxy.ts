import { describeError } from "../../base/errors.ts";
import { askAgent } from "./agent-api.ts";
import type { LabNode } from "./plan.ts";

/** Makes an agent's HTTP interface, which is on a Unix socket, reachable for curl and browsers on this machine. */
export class AgentProxy implements AsyncDisposable {
  readonly #server: Bun.Server<undefined>;

  constructor(node: LabNode) {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      development: false,
      // Longer than an agent's stream of events is quiet.
      idleTimeout: 60,
      fetch: (request) => forward(request, node),
      error: (error) => new Response(`${describeError(error)}\n`, { status: 500 }),
    });
  }

  /** `http://127.0.0.1:PORT`; its root shows the mesh page. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }
}

const OWN_NAMES: readonly string[] = ["127.0.0.1", "localhost"];

/** Headers on which the answer depends: who asks, and what for. */
const HANDED_ON = ["accept", "accept-encoding", "if-none-match", "last-event-id", "user-agent"];

function pick(headers: Headers): [string, string][] {
  return HANDED_ON.flatMap((name): [string, string][] => {
    const value = headers.get(name);
    return value === null ? [] : [[name, value]];
  });
}

async function forward(request: Request, { name, debugSocket }: LabNode): Promise<Response> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return new Response("only GET and HEAD\n", { status: 405, headers: { allow: "GET, HEAD" } });
  }
  const { hostname, pathname, search } = new URL(request.url);
  // A web page may let a name of its own lead here; the agent's socket trusts whoever opens it.
  if (!OWN_NAMES.includes(hostname))
    return new Response(`${hostname} is not this lab: ask 127.0.0.1\n`, { status: 421 });
  try {
    const { body, status, headers } = await askAgent(debugSocket, `${pathname}${search}`, {
      method: request.method,
      headers: pick(request.headers),
      signal: request.signal,
    });
    return new Response(body, { status, headers });
  } catch (error) {
    return new Response(`the agent of ${name} does not answer: ${describeError(error)}\n`, { status: 502 });
  }
}
