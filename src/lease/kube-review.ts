import * as v from "valibot";
import type { KubeTransport } from "./kube-transport.ts";

/** A right in RBAC's terms; of the core API group. */
export interface Right {
  readonly verb: string;
  /** with its subresource, as in `nodes/status` */
  readonly resource: string;
  readonly namespace?: string;
}

export interface Review extends Right {
  readonly allowed: boolean;
}

/** What the agent asks of the API server beside the pod that it runs in, as flannel's ClusterRole has it. */
export const AGENT_RIGHTS: readonly Right[] = [
  { verb: "get", resource: "nodes" },
  { verb: "list", resource: "nodes" },
  { verb: "watch", resource: "nodes" },
  { verb: "patch", resource: "nodes/status" },
];

const PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const Answer = v.object({ status: v.object({ allowed: v.boolean() }) });

/** Asks the API server whether we have a right (authorization.k8s.io/v1). Nothing is stored. @throws KubeError, or the signal's reason */
export async function reviewRight(transport: KubeTransport, right: Right, signal: AbortSignal): Promise<Review> {
  const { verb, resource, namespace } = right;
  const [kind = "", subresource] = resource.split("/");
  const attributes = { verb, resource: kind, ...(subresource && { subresource }), ...(namespace && { namespace }) };
  const body = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: attributes },
  };
  const headers = { "content-type": "application/json", accept: "application/json" };
  const request = { path: PATH, method: "POST", headers, body: JSON.stringify(body), signal };
  const response = await transport.open(request, signal);
  return { ...right, allowed: v.parse(Answer, await response.json()).status.allowed };
}
