import { describeError, UsageError } from "../../base/errors.ts";
import type { KubernetesFlags } from "../../config/flags.ts";
import { annotationNames } from "../../lease/kube-annotations.ts";
import { KubeCredentials } from "../../lease/kube-credentials.ts";
import { KubeError } from "../../lease/kube-errors.ts";
import { type NodeIdentity, nodeIdentity, OwnNode } from "../../lease/kube-own.ts";
import type { KubeNode } from "../../lease/kube-proto.ts";
import { AGENT_RIGHTS, type Review, type Right, reviewRight } from "../../lease/kube-review.ts";
import { KubeTransport } from "../../lease/kube-transport.ts";
import { clockOf } from "./clock-of.ts";
import type { ServerFacts, SourceFacts } from "./sources.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** milliseconds */
const ANSWER_MS = 5_000;

/** A value, or why there is none. */
export type Known<T> = { readonly value: T } | { readonly problem: string };

/** What the API server lets the agent do, and this node's Node. */
export interface KubeFacts {
  /** who we are, for messages */
  readonly identity: string;
  readonly reviews: Known<readonly Review[]>;
  /** undefined: which Node is this one's is not known */
  readonly node: Known<KubeNode> | undefined;
}

export async function readKube(
  flags: KubernetesFlags,
  environment: Environment,
  signal: AbortSignal,
): Promise<SourceFacts> {
  const transport = new KubeTransport(new KubeCredentials({ ...flags, environment }), () => {});
  const server = await askServer(transport, signal);
  if (server.problem !== undefined) return { servers: [server] };
  const node = identityFrom(environment);
  const limited = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const ofPod: Right[] = node && "pod" in node ? [{ verb: "get", resource: "pods", namespace: node.namespace }] : [];
  const rights = [...AGENT_RIGHTS, ...ofPod];
  const [{ identity }, reviews, found] = await Promise.all([
    transport.access(),
    known(() => Promise.all(rights.map((right) => reviewRight(transport, right, limited)))),
    node && known(() => readNode(transport, flags, node, limited)),
  ]);
  return { servers: [server], kube: { identity, reviews, node: found } };
}

async function askServer(transport: KubeTransport, signal: AbortSignal): Promise<ServerFacts> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const [sentAt, started] = [Date.now(), performance.now()];
  const latency = () => Math.round(performance.now() - started);
  try {
    const response = await transport.open({ path: "/version", signal: limited }, signal);
    const latencyMs = latency();
    await response.arrayBuffer();
    const clock = clockOf(response.headers.get("date"), sentAt, sentAt + latencyMs);
    return { server: transport.location, latencyMs, ...clock };
  } catch (error) {
    // It is there and knows us; what we may do is looked at next.
    if (error instanceof KubeError && error.status === 403) return { server: transport.location, latencyMs: latency() };
    return { server: transport.location, problem: describeError(error) };
  }
}

function identityFrom(environment: Environment): NodeIdentity | undefined {
  try {
    return nodeIdentity(environment);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

async function readNode(
  transport: KubeTransport,
  { annotationPrefix }: KubernetesFlags,
  identity: NodeIdentity,
  signal: AbortSignal,
): Promise<KubeNode> {
  const own = new OwnNode(transport, annotationNames(annotationPrefix), identity);
  return own.read(await own.name(signal), signal);
}

async function known<T>(action: () => Promise<T>): Promise<Known<T>> {
  try {
    return { value: await action() };
  } catch (error) {
    return { problem: describeError(error) };
  }
}
