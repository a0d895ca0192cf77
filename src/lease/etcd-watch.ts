import { Code, EtcdUnreachableError } from "./etcd-errors.ts";
import { encodeText, type Refusal, type WatchResult, watchSchema } from "./etcd-messages.ts";
import type { Target } from "./etcd-session.ts";
import { type EtcdCall, explain, parseAnswer, refused, request } from "./etcd-transport.ts";

export interface WatchRequest {
  /** all keys from `key` to before `end` */
  readonly key: string;
  readonly end: string;
  /** the first revision to be told of */
  readonly from: number;
  /** milliseconds between two questions whether etcd is still there, and how long it has for the answer */
  readonly heartbeatMs: number;
}

/** A stream that etcd has confirmed. */
export interface EtcdWatch {
  readonly endpoint: string;
  /** what the confirmation says, then what happens; ends by throwing why */
  readonly messages: AsyncGenerator<WatchResult, never, void>;
  /** Asks for a sign of life at once; the stream ends if none comes soon. */
  probe(): void;
}

const OPERATION = "watch";
/** Milliseconds that a sign of life may take when somebody has reason to doubt. */
const PROBE_MS = 3000;
/**
 * Without the first, the gateway answers only when the request's body has ended, and we could not ask for signs of life.
 * By the second, a member that lost its cluster ends the stream instead of going on with what it knows.
 */
const HEADERS = { connection: "close", "grpc-metadata-hasleader": "true" };

/**
 * Asks for a stream of changes. Over the request's body, which stays open, etcd is asked again and again for a sign of
 * life: a connection that is only half there, or a server that hangs, is found out.
 * @returns after etcd has confirmed
 */
export async function openWatch(options: WatchRequest, target: Target, signal: AbortSignal): Promise<EtcdWatch> {
  const { key, end, from, heartbeatMs } = options;
  const stop = new AbortController();
  const pulse = new Pulse(heartbeatMs, (ms) => {
    const silence = `it has said nothing for ${ms / 1000} s, the watch starts anew`;
    stop.abort(new EtcdUnreachableError(`etcd ${target.endpoint}: ${OPERATION}: ${silence}`));
  });
  const range = { key: encodeText(key), range_end: encodeText(end), start_revision: `${from}` };
  pulse.send({ create_request: { ...range, progress_notify: true } });
  const call: EtcdCall = {
    ...target,
    operation: OPERATION,
    body: pulse.body,
    signal: AbortSignal.any([signal, stop.signal]),
    headers: HEADERS,
  };
  const messages = read(call, pulse, stop);
  const { value: confirmation } = await messages.next();
  return { endpoint: target.endpoint, messages: prepend(confirmation, messages), probe: () => pulse.probe() };
}

async function* prepend(first: WatchResult, rest: AsyncGenerator<WatchResult, never, void>) {
  yield first;
  return yield* rest;
}

async function* read(call: EtcdCall, pulse: Pulse, stop: AbortController): AsyncGenerator<WatchResult, never, void> {
  try {
    const response = await request(call);
    pulse.start();
    for await (const line of linesOf(response, call)) {
      pulse.heard();
      const message = parseAnswer(call, watchSchema, line);
      if ("error" in message) throw refused(call, message.error);
      const { canceled, compact_revision, cancel_reason } = message.result;
      if (canceled && compact_revision === 0) throw refused(call, refusalOf(cancel_reason));
      yield message.result;
    }
    throw new EtcdUnreachableError(`etcd ${call.endpoint}: ${OPERATION}: etcd ended the stream`);
  } finally {
    pulse.stop();
    stop.abort();
  }
}

async function* linesOf({ body }: Response, call: EtcdCall): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of body ?? []) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "") yield line;
    }
  } catch (cause) {
    throw await explain(call, cause);
  }
}

/** A watch that etcd would not begin, as far as it says why. */
function refusalOf(reason: string): Refusal {
  const code = reason.includes("permission denied") ? Code.permission : 0;
  return { code, message: reason || "etcd cancelled the watch" };
}

/** The body of a watch's request: asks for a sign of life at intervals, and says when none came in one. */
class Pulse {
  readonly body: ReadableStream<Uint8Array>;
  readonly #ms: number;
  readonly #onSilence: (ms: number) => void;
  #write: ((chunk: Uint8Array) => void) | undefined;
  #timer: Timer | undefined;
  #waiting = false;

  /** @param onSilence told how long it lasted */
  constructor(ms: number, onSilence: (ms: number) => void) {
    this.#ms = ms;
    this.#onSilence = onSilence;
    this.body = new ReadableStream({
      start: (controller) => {
        this.#write = (chunk) => controller.enqueue(chunk);
      },
      cancel: () => this.stop(),
    });
  }

  send(message: object): void {
    this.#write?.(new TextEncoder().encode(`${JSON.stringify(message)}\n`));
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (this.#waiting) this.#onSilence(this.#ms);
      else this.#ask();
    }, this.#ms);
  }

  probe(): void {
    // Not yet begun, or over.
    if (this.#timer === undefined) return;
    const ms = Math.min(this.#ms, PROBE_MS);
    clearInterval(this.#timer);
    this.#ask();
    this.#timer = setTimeout(() => {
      if (this.#waiting) this.#onSilence(ms);
      else this.start();
    }, ms);
  }

  #ask(): void {
    this.#waiting = true;
    this.send({ progress_request: {} });
  }

  heard(): void {
    this.#waiting = false;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#write = undefined;
  }
}
