import * as v from "valibot";

/** A flannel DaemonSet's account, with no more rights than flannel's ClusterRole gives. */
const NAMESPACE = "kube-flannel";
const ACCOUNT = "flannel";
const ROLE = {
  rules: [
    { apiGroups: [""], resources: ["pods", "nodes", "namespaces"], verbs: ["get", "list", "watch"] },
    { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  ],
};
const RBAC = "/apis/rbac.authorization.k8s.io/v1";
const REQUEST_MS = 10_000;

const TokenBody = v.object({ status: v.object({ token: v.string() }) });

/** How to ask an API server. */
export interface KubeAccess {
  /** without a slash at its end */
  readonly url: string;
  /** file of the certificate authority */
  readonly ca: string;
  /** of its administrator */
  readonly token: string;
}

export interface KubeRequest {
  readonly body?: object | undefined;
  /** whose rights to use; the administrator's if not given */
  readonly token?: string;
  readonly signal?: AbortSignal;
}

/** What an administrator does at a new API server, for flannel's account to be there. */
export class KubeApi {
  readonly #access: KubeAccess;

  constructor(access: KubeAccess) {
    this.#access = access;
  }

  /** PATCH is a strategic merge. @throws Error with what the API server answered, unless it is good */
  async request(method: string, path: string, { body, token, signal }: KubeRequest = {}): Promise<unknown> {
    const { url, ca, token: ofAdmin } = this.#access;
    const type = method === "PATCH" ? "application/strategic-merge-patch+json" : "application/json";
    const deadline = AbortSignal.timeout(REQUEST_MS);
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token ?? ofAdmin}`, "content-type": type },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      tls: { ca: Bun.file(ca) },
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: HTTP ${response.status}: ${text}`);
    return text.startsWith("{") ? JSON.parse(text) : text;
  }

  /** Makes flannel's account and role. The API server takes a moment until it grants what the role says. */
  async makeAccount(signal?: AbortSignal): Promise<void> {
    const metadata = { name: ACCOUNT, namespace: NAMESPACE };
    const post = (path: string, body: object) => this.request("POST", path, { body, ...(signal && { signal }) });
    await post("/api/v1/namespaces", { metadata: { name: NAMESPACE } });
    await post(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { metadata });
    await post(`${RBAC}/clusterroles`, { metadata: { name: ACCOUNT }, ...ROLE });
    await this.bind(ACCOUNT, { kind: "ServiceAccount", ...metadata });
  }

  /** Gives flannel's ClusterRole, or another one, to someone. */
  async bind(name: string, subject: object, role = ACCOUNT): Promise<void> {
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role };
    const body = { metadata: { name }, roleRef, subjects: [subject] };
    await this.request("POST", `${RBAC}/clusterrolebindings`, { body });
  }

  /**
   * A token of flannel's account.
   * @param lifetime seconds
   * @param boundTo a Secret of its namespace whose end is the token's, too
   */
  async token(lifetime: number, boundTo?: string): Promise<string> {
    const boundObjectRef = boundTo === undefined ? undefined : { kind: "Secret", apiVersion: "v1", name: boundTo };
    const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${ACCOUNT}/token`;
    const answer = await this.request("POST", path, {
      body: { spec: { expirationSeconds: lifetime, boundObjectRef } },
    });
    return v.parse(TokenBody, answer).status.token;
  }

  /** Whether a token has the rights of flannel's role by now. */
  async grants(token: string, signal?: AbortSignal): Promise<boolean> {
    const init = { token, ...(signal && { signal }) };
    return (await this.request("GET", "/api/v1/nodes?limit=1", init)) !== undefined;
  }
}
