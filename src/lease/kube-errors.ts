import { connect } from "node:tls";
import { codeOf, environmentProxy, hostOf, plainError, proxyProblem } from "./fetch-errors.ts";
import type { KubeAccess } from "./kube-credentials.ts";
import type { KubeStatus } from "./kube-proto.ts";

/** What a request is about, in RBAC's terms. */
export interface KubeOperation {
  /** `get`, `list`, `watch` or `patch` */
  readonly verb: string;
  /** `nodes`, `nodes/status` or `pods` */
  readonly resource: string;
  /** of one object */
  readonly name?: string;
}

/** The API server refused, or could not be asked. The message says what to do; it never holds a credential. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP's, or undefined where there was no answer */
  readonly status: number | undefined;

  constructor(message: string, options: ErrorOptions & { readonly status?: number } = {}) {
    super(message, options);
    this.status = options.status;
  }
}

function titleOf({ verb, resource, name }: KubeOperation): string {
  return name === undefined ? `${verb} ${resource}` : `${verb} ${resource} ${name}`;
}

/** Explains an answer that is none of the 200s. */
export function explainStatus(operation: KubeOperation, access: KubeAccess, answer: KubeStatus): KubeError {
  const { code: status, message } = answer;
  const said = message ? `: ${message.slice(0, 500)}` : "";
  const start = `can't ${titleOf(operation)} at ${access.server}`;
  const { verb, resource, name } = operation;
  switch (status) {
    case 401:
      return new KubeError(
        `${start}: 401 Unauthorized: the API server does not accept ${access.identity}; check that its token or ` +
          "certificate is valid and has not expired",
        { status },
      );
    case 403: {
      const rule = `{apiGroups: [""], resources: ["${resource}"], verbs: ["${verb}"]}`;
      return new KubeError(`${start}: 403 Forbidden${said}; its ClusterRole needs the rule ${rule}`, { status });
    }
    case 404:
      return new KubeError(
        resource === "pods"
          ? `there is no pod ${name} at ${access.server}; check POD_NAME and POD_NAMESPACE, or set NODE_NAME`
          : `there is no Node ${name} at ${access.server}; wait until kubelet has registered it, or correct NODE_NAME`,
        { status },
      );
    default:
      return new KubeError(`${start}: ${status}${said}`, { status });
  }
}

const UNKNOWN_AUTHORITY = new Set([
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "CERT_SIGNATURE_FAILURE",
]);
const VALIDITY = new Set(["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"]);

const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there; check that the API server runs, and its address",
  ENOTFOUND: "its name is not known; check the address and DNS",
  EAI_AGAIN: "its name can't be looked up; check DNS",
  ECONNRESET: "it closed the connection",
  ENETUNREACH: "there is no route to it",
  EHOSTUNREACH: "there is no route to it",
};

/** Explains why there was no answer. */
export async function explainFailure(operation: KubeOperation, access: KubeAccess, cause: unknown): Promise<KubeError> {
  const start = `can't ${titleOf(operation)} at ${access.server}`;
  const code = codeOf(cause);
  if (UNKNOWN_AUTHORITY.has(code)) {
    const by = await certificateOf(access);
    return new KubeError(
      `${start}: its certificate is signed by an unknown authority${by && `, ${by.issuer}`}, not by one in ${access.trust} ` +
        `(${code}); correct the certificate authority, or find out who answers there`,
      { cause },
    );
  }
  if (VALIDITY.has(code)) {
    const by = await certificateOf(access);
    const dates = by && `, valid from ${by.validFrom} to ${by.validTo}`;
    return new KubeError(`${start}: its certificate is not valid now (${code})${dates}; renew it, or set the clock`, {
      cause,
    });
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const by = await certificateOf(access);
    return new KubeError(
      `${start}: its certificate is for other names${by && ` (${by.names})`}; use one of those, or tls-server-name in a kubeconfig`,
      { cause },
    );
  }
  const proxy =
    access.proxy === undefined
      ? environmentProxy(access.server)
      : { host: hostOf(access.proxy), from: "the kubeconfig's proxy-url" };
  const plain = plainError(cause);
  const said = (proxy && proxyProblem(proxy, cause)) ?? ADVICE[code] ?? plain.message;
  return new KubeError(`${start}: ${said}${code && !said.includes(code) ? ` (${code})` : ""}`, { cause: plain });
}

interface Certificate {
  readonly issuer: string;
  readonly names: string;
  readonly validFrom: string;
  readonly validTo: string;
}

/** What a refused server shows of itself; nothing is sent to it. Empty if that can't be had. */
function certificateOf({ server, tls, proxy }: KubeAccess): Promise<Certificate | ""> {
  if (proxy !== undefined) return Promise.resolve("");
  const { hostname, port } = new URL(server);
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const servername = tls.serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
  const { promise, resolve } = Promise.withResolvers<Certificate | "">();
  const socket = connect(
    { host, port: Number(port || 443), rejectUnauthorized: false, ...(servername && { servername }) },
    () => {
      const { issuer, subjectaltname, valid_from: validFrom, valid_to: validTo } = socket.getPeerCertificate();
      const name = [issuer?.CN, issuer?.O].flat().find((text) => text);
      resolve({
        issuer: JSON.stringify(name ?? "without a name"),
        names: subjectaltname ?? "none",
        validFrom,
        validTo,
      });
      socket.destroy();
    },
  );
  socket.setTimeout(2000, () => socket.destroy());
  socket.on("error", () => resolve("")).on("close", () => resolve(""));
  return promise;
}
