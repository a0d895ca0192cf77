import {
  CoreV1Api,
  createConfiguration,
  ResponseContext,
  ServerConfiguration,
  wrapHttpLibrary,
} from "@kubernetes/client-node";
import * as v from "valibot";
import type { KubeAccess, KubeCredentials } from "./kube-credentials.ts";
import { explainFailure, explainStatus, KubeError, type KubeOperation } from "./kube-errors.ts";
import { splitFrames } from "./kube-frames.ts";
import { decodeStatus, isProtobuf, type KubeStatus } from "./kube-proto.ts";

export interface KubeRequest {
  /** with its query, from the server's root */
  readonly path: string;
  /** GET unless given */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** may use a connection that is left from an earlier request: quick where there are many of them */
  readonly pooled?: boolean;
  /** aborts it; without a deadline of its own it would wait for ever */
  readonly signal: AbortSignal;
}

/** For one object; a page of a list takes longer. All in milliseconds. */
const CALL_MS = 10_000;
const PROTOBUF = "application/vnd.kubernetes.protobuf";
/** Metadata alone: a heartbeat of a kubelet then costs a tenth of its Node. */
const WATCHED = `${PROTOBUF};stream=watch;as=PartialObjectMetadata;g=meta.k8s.io;v=v1`;
/** The API server would spend more time on compressing a list than the network on carrying it. */
const UNCOMPRESSED = { "accept-encoding": "identity" };

/**
 * Requests to the API server by Bun's own fetch. The client library's undici is a shim in Bun that ignores the cluster's
 * authority and the client's certificate.
 */
export class KubeTransport {
  readonly #credentials: KubeCredentials;
  /** after each answer, whatever it says */
  readonly #onAnswer: () => void;

  constructor(credentials: KubeCredentials, onAnswer: () => void) {
    this.#credentials = credentials;
    this.#onAnswer = onAnswer;
  }

  get location(): string {
    return this.#credentials.location;
  }

  /** For messages about answers. */
  access(): Promise<KubeAccess> {
    return this.#credentials.current();
  }

  /** An answer in protobuf. @throws KubeError, or the signal's reason */
  async bytes(
    path: string,
    signal: AbortSignal,
    { timeoutMs = CALL_MS, pooled = false }: { readonly timeoutMs?: number; readonly pooled?: boolean } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    using deadline = new Deadline(signal, timeoutMs, `no answer within ${timeoutMs / 1000} s`);
    const request = { path, headers: { accept: PROTOBUF, ...UNCOMPRESSED }, pooled, signal: deadline.signal };
    // Awaited here: the deadline ends with this function.
    return await this.#answered(request, signal, async (response) => new Uint8Array(await response.arrayBuffer()));
  }

  /** The typed API over this transport. Calls reject with KubeError, or with the signal's reason. */
  core(signal: AbortSignal): CoreV1Api {
    return new CoreV1Api(
      createConfiguration({
        // The path is all that is taken of the URL: where the server is, the credentials know.
        baseServer: new ServerConfiguration("http://kubernetes", {}),
        httpApi: wrapHttpLibrary({
          send: async (context) => {
            using deadline = new Deadline(signal, CALL_MS, `no answer within ${CALL_MS / 1000} s`);
            const { pathname, search } = new URL(context.getUrl());
            const body = context.getBody();
            const request = {
              path: pathname + search,
              method: context.getHttpMethod(),
              headers: context.getHeaders(),
              ...(typeof body === "string" ? { body } : {}),
              signal: deadline.signal,
            };
            const text = await this.#answered(request, signal, (response) => response.text());
            const answer = { text: async () => text, binary: async () => Buffer.from(text), stream: () => null };
            return new ResponseContext(200, { "content-type": "application/json" }, answer);
          },
        }),
      }),
    );
  }

  /**
   * The frames of a watch, until the server ends it.
   * @param totalMs after which it is taken for dead
   * @param onOpen when the server has begun to answer
   * @throws KubeError, or the signal's reason
   */
  async *watch(
    path: string,
    signal: AbortSignal,
    totalMs: number,
    onOpen: () => void,
  ): AsyncGenerator<Uint8Array, void, void> {
    using deadline = new Deadline(signal, CALL_MS, `no answer within ${CALL_MS / 1000} s`);
    const request = { path, headers: { accept: WATCHED, ...UNCOMPRESSED }, signal: deadline.signal };
    const response = await this.open(request, signal);
    deadline.extend(totalMs, `the watch did not end when it should have: nothing for ${totalMs / 1000} s`);
    onOpen();
    try {
      for await (const frame of splitFrames(response.body ?? [])) {
        this.#onAnswer();
        yield frame;
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw await explainFailure(operationOf(request), await this.#credentials.current(), cause);
    }
  }

  /** Sends a request and takes its whole answer. */
  async #answered<T>(request: KubeRequest, signal: AbortSignal, take: (response: Response) => Promise<T>): Promise<T> {
    const response = await this.open(request, signal);
    try {
      const answer = await take(response);
      this.#onAnswer();
      return answer;
    } catch (cause) {
      signal.throwIfAborted();
      throw await explainFailure(operationOf(request), await this.#credentials.current(), cause);
    }
  }

  /**
   * Sends a request, a second time with new credentials if the first ones are not accepted.
   * @param signal whose reason is thrown as it is, while the request's own signal may be a deadline
   * @returns an answer of the 200s, its body yet to be read
   * @throws KubeError
   */
  async open(request: KubeRequest, signal: AbortSignal): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const access = await this.#credentials.current();
      const operation = operationOf(request);
      let response: Response;
      let status: KubeStatus;
      try {
        response = await send(request, access);
        this.#onAnswer();
        if (response.ok) return response;
        status = await readStatus(response);
      } catch (cause) {
        signal.throwIfAborted();
        throw await explainFailure(operation, access, cause);
      }
      if (response.status === 401) {
        this.#credentials.forget();
        if (attempt === 1) continue;
      }
      throw explainStatus(operation, access, status);
    }
  }
}

function send(request: KubeRequest, access: KubeAccess): Promise<Response> {
  const { path, method = "GET", headers, body, pooled = false, signal } = request;
  return fetch(`${access.server}${path}`, {
    method,
    headers: { "user-agent": "tartan", ...headers, ...access.headers },
    ...(body === undefined ? {} : { body }),
    signal,
    // Whatever the environment says (NODE_TLS_REJECT_UNAUTHORIZED).
    tls: { ...access.tls, rejectUnauthorized: true },
    // One that was left may be dead by now without a word, as all are once our own address has changed.
    keepalive: pooled,
    ...(access.proxy === undefined ? {} : { proxy: access.proxy }),
    // Credentials go nowhere else.
    redirect: "error",
  });
}

const statusSchema = v.object({ message: v.optional(v.string(), ""), reason: v.optional(v.string(), "") });

async function readStatus(response: Response): Promise<KubeStatus> {
  const bytes = await response.bytes();
  if (isProtobuf(bytes)) return { ...decodeStatus(bytes), code: response.status };
  const text = new TextDecoder().decode(bytes);
  try {
    return { ...v.parse(statusSchema, JSON.parse(text)), code: response.status };
  } catch {
    // A proxy's page, or plain text.
    return { code: response.status, reason: "", message: text.trim().slice(0, 200) };
  }
}

/** What RBAC calls the request, from its path; of what is no resource, the path. */
function operationOf({ path, method = "GET" }: KubeRequest): KubeOperation {
  const { pathname, searchParams } = new URL(path, "http://kubernetes");
  const [found, resource = "", name, part] =
    /^\/apis?(?:\/[^/]+)?\/v1\/(?:namespaces\/[^/]+\/)?([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(pathname) ?? [];
  if (found === undefined) return { verb: method.toLowerCase(), resource: pathname };
  const reads = searchParams.has("watch") ? "watch" : name === undefined ? "list" : "get";
  return {
    verb: method === "GET" ? reads : method === "POST" ? "create" : method.toLowerCase(),
    resource: part === undefined ? resource : `${resource}/${part}`,
    ...(name === undefined ? {} : { name: decodeURIComponent(name) }),
  };
}

/** A signal that aborts with another one, or when its time is up: `using` it takes it back. */
class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #abort = () => this.#controller.abort(this.#outer.reason);
  #timer: Timer;

  /** @param message what the error says then */
  constructor(outer: AbortSignal, ms: number, message: string) {
    this.#outer = outer;
    outer.addEventListener("abort", this.#abort);
    if (outer.aborted) this.#abort();
    this.#timer = setTimeout(() => this.#controller.abort(new KubeError(message)), ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Another time from now on. */
  extend(ms: number, message: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(new KubeError(message)), ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#abort);
  }
}
