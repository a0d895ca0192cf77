import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Secret } from "../base/secret.ts";
import { ContactRecord } from "./contact.ts";
import { Code, combine, EtcdRefusedError, EtcdUnreachableError } from "./etcd-errors.ts";
import { authenticateSchema } from "./etcd-messages.ts";
import type { EtcdTlsFiles } from "./etcd-tls.ts";
import { post } from "./etcd-transport.ts";

const log = logger("lease");

export interface EtcdAccess {
  /** `http://192.0.2.1:2379`, at least one */
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTlsFiles;
  readonly username?: string;
  readonly password?: Secret;
  /** milliseconds that one endpoint has for one answer */
  readonly requestMs?: number;
  /** milliseconds since the epoch */
  readonly now?: () => number;
}

/** What a call needs to know of where it goes. */
export interface Target {
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly tls: EtcdTlsFiles;
}

const REQUEST_MS = 5000;
const NEVER = new AbortController().signal;

/**
 * Which endpoint is in use, the token there, and when etcd last answered. The endpoint that answered last is asked first;
 * the others follow when it does not.
 */
export class EtcdSession {
  readonly #endpoints: readonly string[];
  readonly #tls: EtcdTlsFiles;
  readonly #user: { readonly name: string; readonly password: Secret } | undefined;
  readonly #requestMs: number;
  readonly #now: () => number;
  #preferred = 0;
  /** undefined: to be asked for; an empty one: etcd needs none */
  #token: Promise<string> | undefined;
  readonly contact = new ContactRecord(["watch", "call"]);

  constructor({ endpoints, tls = {}, username, password, requestMs = REQUEST_MS, now = Date.now }: EtcdAccess) {
    this.#endpoints = endpoints;
    this.#tls = tls;
    this.#user = username === undefined || password === undefined ? undefined : { name: username, password };
    this.#requestMs = requestMs;
    this.#now = now;
  }

  /**
   * Makes a call at the preferred endpoint, or the next that answers. `use` must give up when its signal aborts, which
   * happens when the time is over.
   * @throws EtcdUnreachableError, EtcdRefusedError, the signal's reason
   */
  async call<T>(kind: "call" | "watch", signal: AbortSignal, use: (target: Target, signal: AbortSignal) => Promise<T>) {
    try {
      const result = await this.#somewhere(signal, use);
      this.heard();
      this.#setError(kind, undefined);
      return result;
    } catch (error) {
      if (error instanceof EtcdRefusedError) this.heard();
      if (!signal.aborted) this.#setError(kind, error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  /** etcd said something. */
  heard(): void {
    this.contact.heard(this.#now());
  }

  /** Another endpoint is to be asked first from now on, unless that happened already. */
  distrust(endpoint: string): void {
    if (this.#endpoints[this.#preferred] === endpoint) this.#preferred = (this.#preferred + 1) % this.#endpoints.length;
  }

  async #somewhere<T>(signal: AbortSignal, use: (target: Target, signal: AbortSignal) => Promise<T>): Promise<T> {
    const failures: EtcdUnreachableError[] = [];
    const first = this.#preferred;
    for (let tried = 0; tried < this.#endpoints.length; tried++) {
      const index = (first + tried) % this.#endpoints.length;
      const endpoint = this.#endpoints[index] ?? "";
      try {
        const result = await this.#withToken(endpoint, signal, use);
        this.#preferred = index;
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof EtcdUnreachableError)) throw error;
        failures.push(error);
      }
    }
    throw combine(failures);
  }

  async #withToken<T>(
    endpoint: string,
    signal: AbortSignal,
    use: (target: Target, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const inTime = (token: string | undefined) =>
      this.#inTime(endpoint, signal, (limited) => use({ endpoint, token, tls: this.#tls }, limited));
    if (this.#user === undefined) return inTime(undefined);
    const asked = this.#askToken(endpoint);
    try {
      return await inTime(await unlessAborted(asked, signal));
    } catch (error) {
      if (!(error instanceof EtcdRefusedError && error.wantsNewToken)) throw error;
    }
    if (this.#token === asked) this.#token = undefined;
    return inTime(await unlessAborted(this.#askToken(endpoint), signal));
  }

  /** One answer serves all calls, also those that began meanwhile. */
  #askToken(endpoint: string): Promise<string> {
    if (this.#token !== undefined) return this.#token;
    const asked = this.#inTime(endpoint, NEVER, (limited) => this.#authenticate(endpoint, limited));
    this.#token = asked;
    asked.catch(() => {
      if (this.#token === asked) this.#token = undefined;
    });
    return asked;
  }

  async #authenticate(endpoint: string, signal: AbortSignal): Promise<string> {
    const body = JSON.stringify({ name: this.#user?.name, password: this.#user?.password.reveal() });
    const call = { endpoint, operation: "auth/authenticate", body, token: undefined, tls: this.#tls, signal };
    try {
      return (await post(call, authenticateSchema)).token;
    } catch (error) {
      // Users are of no use there as long as nobody turns them on.
      if (error instanceof EtcdRefusedError && error.code === Code.precondition) return "";
      throw error;
    }
  }

  async #inTime<T>(endpoint: string, signal: AbortSignal, use: (limited: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const ms = this.#requestMs;
    const timer = setTimeout(() => {
      late.abort(new EtcdUnreachableError(`etcd ${endpoint}: no answer within ${ms / 1000} s; see that it is healthy`));
    }, ms);
    try {
      return await use(AbortSignal.any([signal, late.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  #setError(kind: "call" | "watch", error: Error | undefined): void {
    const before = this.contact.current.error?.message;
    // Once the watch works: whatever failed before is tried again by those who need it.
    const others = kind === "watch" && error === undefined ? { call: undefined } : {};
    this.contact.set({ [kind]: error, ...others });
    const after = this.contact.current.error;
    if (after !== undefined && after.message !== before) log.warn("{problem}", { problem: describeError(after) });
    if (after === undefined && before !== undefined) log.info("etcd is in contact again");
  }
}

/** @throws the signal's reason as soon as it aborts */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", abort));
}
