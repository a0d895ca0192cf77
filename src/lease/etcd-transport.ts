import * as v from "valibot";
import { Code, EtcdRefusedError, EtcdUnreachableError, isUnknownCa, unreachable } from "./etcd-errors.ts";
import { type Refusal, refusalSchema } from "./etcd-messages.ts";
import { type EtcdTlsFiles, issuerOf, readTls } from "./etcd-tls.ts";
import { codeOf, environmentProxy } from "./fetch-errors.ts";

export interface EtcdCall {
  /** `http://192.0.2.1:2379` */
  readonly endpoint: string;
  /** behind `/v3/`, as in `kv/range` */
  readonly operation: string;
  readonly body: string | ReadableStream<Uint8Array>;
  readonly token: string | undefined;
  readonly tls: EtcdTlsFiles;
  readonly signal: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Calls etcd's JSON gateway over a connection of its own: calls are rare, and a pooled connection may have died.
 * @returns the response, whose status is good
 * @throws EtcdUnreachableError, EtcdRefusedError, the signal's reason, or an error about a TLS file
 */
export async function request(call: EtcdCall): Promise<Response> {
  const { endpoint, operation, body, token, signal } = call;
  // Whatever the environment says (NODE_TLS_REJECT_UNAUTHORIZED).
  const tls = endpoint.startsWith("https:") ? { ...(await readTls(call.tls)), rejectUnauthorized: true } : {};
  let response: Response;
  try {
    response = await fetch(`${endpoint}/v3/${operation}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...(token ? { authorization: token } : {}), ...call.headers },
      tls,
      signal,
      keepalive: false,
      redirect: "error",
    });
  } catch (cause) {
    throw await explain(call, cause);
  }
  if (response.ok) return response;
  throw refusal(call, response.status, await bodyOf(call, response));
}

/** Calls, and reads the one answer. */
export async function post<T>(call: EtcdCall, schema: v.GenericSchema<unknown, T>): Promise<T> {
  return parseAnswer(call, schema, await bodyOf(call, await request(call)));
}

/** @throws EtcdUnreachableError if it is not what etcd would answer */
export function parseAnswer<T>(
  { endpoint, operation }: Pick<EtcdCall, "endpoint" | "operation">,
  schema: v.GenericSchema<unknown, T>,
  text: string,
): T {
  try {
    return v.parse(schema, JSON.parse(text));
  } catch (cause) {
    const what = "it answers, but not as etcd does; correct --etcd-endpoints";
    throw new EtcdUnreachableError(`etcd ${endpoint}: ${operation}: ${what}`, { cause });
  }
}

/** An error as etcd words it, over HTTP or in a stream. */
export function refused(
  { endpoint, operation }: Pick<EtcdCall, "endpoint" | "operation">,
  { code, message }: Refusal,
): EtcdRefusedError | EtcdUnreachableError {
  const reason = message.replace(/^(rpc error: code = \w+ desc = )?((etcdserver|mvcc|auth): )*/, "");
  if (code !== Code.unavailable) return new EtcdRefusedError(endpoint, operation, code, reason);
  return new EtcdUnreachableError(`etcd ${endpoint}: ${operation}: ${reason}; see that most of its members run`);
}

async function bodyOf(call: EtcdCall, response: Response): Promise<string> {
  try {
    return await response.text();
  } catch (cause) {
    throw await explain(call, cause);
  }
}

function refusal(call: EtcdCall, status: number, text: string): Error {
  try {
    return refused(call, v.parse(refusalSchema, JSON.parse(text)));
  } catch {
    const proxy = environmentProxy(call.endpoint);
    const by = proxy === undefined ? "" : `, or ${proxy.from}, by whose proxy ${proxy.host} it was asked`;
    const what = `HTTP ${status}, not etcd's JSON API for version 3; correct --etcd-endpoints${by}`;
    return new EtcdUnreachableError(`etcd ${call.endpoint}: ${call.operation}: ${what}`);
  }
}

export async function explain({ endpoint, operation, tls, signal }: EtcdCall, cause: unknown): Promise<Error> {
  if (signal.aborted && signal.reason instanceof Error) return signal.reason;
  if (!isUnknownCa(cause)) return unreachable(endpoint, operation, cause);
  const issuer = await issuerOf(endpoint);
  const by = issuer === undefined ? "an unknown authority" : `the unknown authority ${JSON.stringify(issuer)}`;
  const step =
    tls.caFile === undefined
      ? "give that authority's certificate with --etcd-cafile if it is the right one"
      : `its certificate is not in ${tls.caFile} (--etcd-cafile)`;
  const message = `its certificate is signed by ${by}; ${step} (${codeOf(cause)})`;
  return new EtcdUnreachableError(`etcd ${endpoint}: ${operation}: ${message}`, { cause });
}
