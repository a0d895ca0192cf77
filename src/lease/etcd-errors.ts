import { codeOf, environmentProxy, plainError, proxyProblem } from "./fetch-errors.ts";

/** There was no answer that counts; another endpoint may give one. The message names the endpoint and the next step. */
export class EtcdUnreachableError extends Error {
  override readonly name = "EtcdUnreachableError";
}

/** gRPC's codes, as far as they matter here. */
export const Code = {
  invalid: 3,
  permission: 7,
  precondition: 9,
  range: 11,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** etcd answered, and the answer is no. */
export class EtcdRefusedError extends Error {
  override readonly name = "EtcdRefusedError";
  /** gRPC's; 0 if unknown */
  readonly code: number;
  /** etcd's own words */
  readonly reason: string;

  constructor(endpoint: string, operation: string, code: number, reason: string) {
    super(`etcd ${endpoint}: ${operation}: ${reason}${nextStep(code, reason)}`);
    this.code = code;
    this.reason = reason;
  }

  /** The token has run out, belongs to an older state of etcd's users, or was lost by a member that started anew. */
  get wantsNewToken(): boolean {
    return (
      this.code === Code.unauthenticated ||
      /invalid auth token|user name is empty|revision (of auth store|in header) is old/i.test(this.reason)
    );
  }

  get isCompacted(): boolean {
    return this.code === Code.range && this.reason.includes("compacted");
  }
}

/** What helps against a refusal, by etcd's words. */
const STEPS: readonly (readonly [pattern: RegExp, step: string])[] = [
  [/user name is empty/, "give --etcd-username and --etcd-password (a client certificate's name does not count here)"],
  [/authentication failed/, "check --etcd-username and --etcd-password"],
  [/database space exceeded/, "compact and defragment etcd, then run etcdctl alarm disarm"],
];

function nextStep(code: number, reason: string): string {
  const step = STEPS.find(([pattern]) => pattern.test(reason))?.[1];
  if (step !== undefined) return `; ${step}`;
  return code === Code.permission
    ? "; grant etcd's user read and write permission for all keys under --etcd-prefix"
    : "";
}

const UNKNOWN_CA = [
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
];

export function isUnknownCa(error: unknown): boolean {
  return UNKNOWN_CA.includes(codeOf(error));
}

const NAMES = "use a name or address that is in it in --etcd-endpoints, or issue it anew";
const NO_WAY = "there is no route to it; see to this host's routes and firewall, or correct --etcd-endpoints";
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused; see that etcd listens there, or correct --etcd-endpoints",
  ENOTFOUND: "the host's name is unknown; correct --etcd-endpoints, or see to the name service",
  EAI_AGAIN: "the host's name can't be looked up now; see to the name service",
  ENETUNREACH: NO_WAY,
  EHOSTUNREACH: "nobody answers at that address; see that its host runs, and to routes and firewalls on the way",
  // What the kernel says of routes of the types prohibit and blackhole.
  EACCES: NO_WAY,
  EINVAL: NO_WAY,
  ETIMEDOUT: "nobody answers at that address; see that its host runs, and to routes and firewalls on the way",
  ECONNRESET:
    "the connection was closed without an answer; check in --etcd-endpoints the port, and whether it is https",
  EPROTO:
    "the TLS handshake failed; if etcd asks for a client certificate, give a valid one (--etcd-certfile, --etcd-keyfile)",
  CERT_HAS_EXPIRED: "its certificate has expired; issue it anew, or set this machine's clock",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; set this machine's clock",
  ERR_TLS_CERT_ALTNAME_INVALID: `its certificate is for another host; ${NAMES}`,
};

/** Why no answer came, from what `fetch` threw. */
export function unreachable(endpoint: string, operation: string, error: unknown): EtcdUnreachableError {
  const code = codeOf(error);
  const cause = plainError(error);
  const proxy = environmentProxy(endpoint);
  const known = (proxy && proxyProblem(proxy, error)) ?? REASONS[code] ?? cause.message;
  const reason = code && !known.includes(code) ? `${known} (${code})` : known;
  const by =
    proxy === undefined || reason.includes(proxy.host) ? "" : `, by way of the proxy ${proxy.host} (${proxy.from})`;
  return new EtcdUnreachableError(`etcd ${endpoint}: ${operation}: ${reason}${by}`, { cause });
}

/** One error for all endpoints. */
export function combine(failures: readonly EtcdUnreachableError[]): EtcdUnreachableError {
  const [first] = failures;
  if (first !== undefined && failures.length === 1) return first;
  const each = failures.map(({ message }) => message).join("; ");
  return new EtcdUnreachableError(`no etcd endpoint answers: ${each}`, { cause: first });
}
