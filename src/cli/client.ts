import * as v from "valibot";
import { DEBUG_ADDRESS, DEBUG_SOCKET } from "../api/commands.ts";
import { RESOURCES, type ResourceName } from "../api/resources.ts";
import { ApiError } from "../api/values.ts";
import { AgentAwayError, describeError, hasCode } from "../base/errors.ts";
import { formatListenAddress, type ListenAddress, parseListenAddress } from "../config/listen-address.ts";
import { parsed } from "../config/schema.ts";
import type { OptionSpecs } from "./options.ts";

/** How long an agent may take for one answer, in milliseconds: one that hangs must not hold whoever looks for the cause. */
const PATIENCE_MS = 5_000;

/** of one page, as large as the agent gives: within one nothing changes */
const MOST_ITEMS = 10_000;

const socketPath = (text: string) => {
  const address = parseListenAddress(`unix:${text}`);
  return address?.kind === "unix" ? address : undefined;
};

/** Where the agent is looked for. One that is given is asked alone. */
export const AGENT_OPTIONS = {
  socket: {
    value: "PATH",
    usage: `the agent's socket, asked first; ${DEBUG_SOCKET} if not given`,
    schema: v.optional(parsed(socketPath, "an absolute path of at most 107 bytes")),
  },
  address: {
    value: "HOST:PORT",
    usage: `its address (--debug-addr); ${DEBUG_ADDRESS} if not given`,
    schema: v.optional(parsed(parseListenAddress, "HOST:PORT or unix:/path")),
  },
} as const satisfies OptionSpecs;

export interface AgentPlaces {
  readonly socket: ListenAddress | undefined;
  readonly address: ListenAddress | undefined;
}

/** In the order in which they are tried. */
function placesOf({ socket, address }: AgentPlaces): ListenAddress[] {
  const given = [socket, address].filter((place) => place !== undefined);
  if (given.length > 0) return given;
  return [`unix:${DEBUG_SOCKET}`, DEBUG_ADDRESS].flatMap((text) => parseListenAddress(text) ?? []);
}

export type Query = Readonly<Record<string, string | number | undefined>>;

export type ResourceOf<N extends ResourceName> = v.InferOutput<(typeof RESOURCES)[N]["schema"]>;

/** The resources that come in pages. */
export type ListName = {
  [N in ResourceName]: ResourceOf<N> extends { readonly items: readonly unknown[] } ? N : never;
}[ResourceName];

const Page = v.looseObject({ items: v.array(v.unknown()), next: v.nullable(v.string()) });

/** A node's agent by way of its debug API. */
export class AgentClient {
  readonly #places: readonly ListenAddress[];
  readonly #patience: number;
  /** the one that answered */
  #found: ListenAddress | undefined;

  constructor(places: AgentPlaces, patience = PATIENCE_MS) {
    this.#places = placesOf(places);
    this.#patience = patience;
    // Bun's fetch sends what these name to a proxy, which knows nothing of this node's own addresses.
    process.env["NO_PROXY"] = "*";
    process.env["no_proxy"] = "*";
  }

  /** Where the agent answered. */
  get where(): string | undefined {
    return this.#found && formatListenAddress(this.#found);
  }

  /**
   * One resource as it is described. @throws AgentAwayError, Error with what the agent answered
   * @param node for the resource of one node
   */
  async get<N extends ResourceName>(name: N, query: Query = {}, node = ""): Promise<ResourceOf<N>> {
    return understood(name, await this.json(pathOf(name, query, node))) as ResourceOf<N>;
  }

  /** All items of a list, whatever its pages are, in its first page. @throws as `get` */
  async list<N extends ListName>(name: N, query: Query = {}): Promise<ResourceOf<N>> {
    return understood(name, await this.whole(pathOf(name, { limit: MOST_ITEMS, ...query }))) as ResourceOf<N>;
  }

  /** What the agent says at a path, with the items of all pages that follow. @throws as `get` */
  async whole(path: string): Promise<unknown> {
    const first = await this.json(path);
    if (!v.is(Page, first)) return first;
    const items = [...first.items];
    for (let next = first.next; next !== null; ) {
      const page = v.parse(Page, await this.json(next));
      items.push(...page.items);
      next = page.items.length > 0 ? page.next : null;
    }
    return { ...first, items, next: null };
  }

  /** @throws as `get` */
  async json(path: string, init: RequestInit = {}): Promise<unknown> {
    const text = await this.text(path, init);
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new Error(`${this.where ?? ""} is no agent: its answer to ${path} is no JSON`, { cause });
    }
  }

  /** @throws as `get` */
  async text(path: string, init: RequestInit = {}): Promise<string> {
    const deadline = AbortSignal.timeout(this.#patience);
    const response = await this.request(path, { ...init, signal: deadline });
    let body: string;
    try {
      body = await response.text();
    } catch (cause) {
      if (!deadline.aborted) throw new AgentAwayError(`the agent broke off its answer to ${path}`, { cause });
      throw this.#hangs(path);
    }
    // Readiness is told by 503, and the reasons are the answer.
    if (response.ok || response.status === 503) return body;
    throw new Error(`the agent refuses ${init.method ?? "GET"} ${path}: ${refusal(body, response)}`);
  }

  /** The answer as it begins. @throws AgentAwayError */
  async request(path: string, init: RequestInit): Promise<Response> {
    const failures: string[] = [];
    let isDenied = false;
    for (const place of this.#found ? [this.#found] : this.#places) {
      try {
        const response = await ask(place, path, init);
        this.#found = place;
        return response;
      } catch (error) {
        if (init.signal?.aborted) {
          this.#found = place;
          throw init.signal.reason?.name === "TimeoutError" ? this.#hangs(path) : error;
        }
        failures.push(`${formatListenAddress(place)} (${reasonOf(error)})`);
        isDenied ||= hasCode(error, ...DENIALS);
      }
    }
    throw new AgentAwayError(
      `no agent answers at ${failures.join(" or ")}: ${isDenied ? "run this as root" : "start it"}, or say where it is by --socket or --address`,
    );
  }

  #hangs(path: string): AgentAwayError {
    return new AgentAwayError(
      `the agent at ${this.where ?? "?"} took the connection and did not answer ${path} within ${this.#patience / 1000} s: it hangs`,
    );
  }
}

const DENIALS = ["EACCES", "EPERM"];

/** Bun's own words ask for a typo in the URL. */
function reasonOf(error: unknown): string {
  if (hasCode(error, "ENOENT")) return "there is no such socket";
  if (hasCode(error, "ECONNREFUSED", "ConnectionRefused")) return "nothing listens there";
  return hasCode(error, ...DENIALS) ? "it is for root alone" : describeError(error);
}

async function ask(place: ListenAddress, path: string, init: RequestInit): Promise<Response> {
  if (place.kind === "unix") return await fetch(`http://agent${path}`, { ...init, unix: place.path });
  return await fetch(`http://${formatListenAddress(place)}${path}`, { ...init, redirect: "error" });
}

/** Path and query of a resource. */
export function pathOf(name: ResourceName, query: Query = {}, node = ""): string {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) given.set(key, `${value}`);
  return RESOURCES[name].path.replace(":node", encodeURIComponent(node)) + (given.size > 0 ? `?${given}` : "");
}

function understood(name: ResourceName, answer: unknown): unknown {
  return understoodAs(RESOURCES[name].schema, name, answer);
}

/** @param name of what was asked for @throws Error if the answer has another form */
export function understoodAs<Schema extends v.GenericSchema>(
  schema: Schema,
  name: string,
  answer: unknown,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, answer);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(
    `the agent's answer about ${name} is not what this version knows (${v.getDotPath(issue) ?? "all of it"}: ${issue.message}): ` +
      "use the executable that the agent runs",
  );
}

function refusal(body: string, { status, statusText }: Response): string {
  try {
    return v.parse(ApiError, JSON.parse(body)).error;
  } catch {
    return `${status} ${statusText}`;
  }
}
