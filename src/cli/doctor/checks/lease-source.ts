import { describeError } from "../../../base/errors.ts";
import { NetConfError } from "../../../config/net-conf-error.ts";
import type { NetworkConfig } from "../../../config/network.ts";
import type { KubeNode } from "../../../lease/kube-proto.ts";
import { whyNoSubnets } from "../../../lease/kube-publish.ts";
import type { Review } from "../../../lease/kube-review.ts";
import { formatPrefix } from "../../../net/prefix.ts";
import { type Check, error, type Finding, NotApplicable, ok, orOk, skipped, warning } from "../check.ts";
import type { Context } from "../context.ts";
import type { EtcdFacts } from "../etcd-source.ts";
import type { Known } from "../kube-source.ts";
import type { ServerFacts } from "../sources.ts";

/** The lease source: whether it is reached, what the agent may do there, and what it says of this node. */

/** milliseconds beyond which a server is slow: an API request takes some tens */
const SLOW_MS = 1_000;

/** Of several servers one that answers is enough to work. Pure. */
export function judgeServers(servers: readonly ServerFacts[]): Finding[] {
  const isReached = servers.some(({ problem }) => problem === undefined);
  return servers.map(({ server, latencyMs = 0, problem }) => {
    const secure = server.startsWith("https:") ? " by a certificate that was verified" : "";
    if (problem !== undefined) {
      const [what, advice] = splitAdvice(problem);
      return (isReached ? warning : error)(what, advice ?? `see that ${server} runs and is reached from here`);
    }
    if (latencyMs > SLOW_MS)
      return warning(`${server} answers only after ${latencyMs} ms`, "look at its load and at the way to it");
    return ok(`${server} answers in ${latencyMs} ms${secure}`);
  });
}

/** The lease sources' messages end with the next step, behind a semicolon. */
function splitAdvice(text: string): [what: string, advice: string | undefined] {
  const at = text.lastIndexOf("; ");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 2)];
}

function whyNoServers({ settings }: Context): string {
  if (settings.leaseSource === "embedded") return "leases are in the embedded store, which is a file";
  return settings.leaseSource === undefined
    ? "which lease source it will be is not known: give the agent's flags, such as --kube-subnet-mgr"
    : "the agent has its credentials in another container: run tartan doctor there, or give the flags to use here";
}

const reach: Check = {
  group: "Lease source",
  name: "lease-source",
  find: async (context) => {
    const { servers } = await context.sources();
    if (servers.length === 0) throw new NotApplicable(whyNoServers(context));
    return judgeServers(servers);
  },
};

/** The rights that RBAC refuses. Pure. */
export function judgeRights(reviews: Known<readonly Review[]>, identity: string): readonly Finding[] {
  if ("problem" in reviews) {
    const [what, advice] = splitAdvice(reviews.problem);
    return [warning(`its rights could not be looked at: ${what}`, advice ?? "allow selfsubjectaccessreviews to it")];
  }
  const denied = reviews.value.filter(({ allowed }) => !allowed);
  const named = reviews.value.map(({ verb, resource }) => `${verb} ${resource}`).join(", ");
  const findings = denied.map(({ verb, resource, namespace }) =>
    error(
      `${identity} must not ${verb} ${resource}${namespace === undefined ? "" : ` in ${namespace}`}`,
      `add to its ClusterRole: {apiGroups: [""], resources: ["${resource}"], verbs: ["${verb}"]}`,
    ),
  );
  return orOk(findings, `${identity} may ${named}`);
}

/** What etcd refuses to the agent's user. Pure. */
export function judgeEtcdRights({ readProblem, writeProblem }: EtcdFacts): readonly Finding[] {
  // One refusal is told once, whatever was asked for.
  const reason = (problem: string | undefined) => problem?.replace(/ kv\/\w+:/, "");
  const problems = reason(readProblem) === reason(writeProblem) ? [readProblem] : [readProblem, writeProblem];
  const findings = problems
    .filter((problem) => problem !== undefined)
    .map((problem) => {
      const [what, advice] = splitAdvice(problem);
      return error(what, advice ?? "check --etcd-username and --etcd-password, and what etcd's user may do");
    });
  return orOk(findings, "leases may be read and written");
}

const rights: Check = {
  group: "Lease source",
  name: "rights",
  find: async (context) => {
    const { servers, kube, etcd } = await context.sources();
    if (servers.length === 0) throw new NotApplicable(whyNoServers(context));
    if (kube !== undefined) return judgeRights(kube.reviews, kube.identity);
    if (etcd !== undefined) return judgeEtcdRights(etcd);
    return [skipped("no server answers, see lease-source")];
  },
};

/** This node's Node has what its subnets come from. Pure. */
export function judgeNode(node: Known<KubeNode>, network: NetworkConfig | undefined): Finding {
  if ("problem" in node) {
    const [what, advice] = splitAdvice(node.problem);
    return error(what, advice ?? "set NODE_NAME to this node's name");
  }
  const { name, podCIDRs } = node.value;
  const controller =
    "run kube-controller-manager with --allocate-node-cidrs and a --cluster-cidr that has free subnets";
  if (podCIDRs.length === 0) return error(`Node ${name} has no podCIDR, so it gets no subnet`, controller);
  const why = network && whyNoSubnets(node.value, network);
  if (why === undefined) return ok(`Node ${name} has the podCIDR ${podCIDRs.join(" and ")}`);
  const [what, advice] = splitAdvice(why);
  return error(what, advice ?? `${controller} of both families`);
}

const node: Check = {
  group: "Lease source",
  name: "node",
  find: async (context) => {
    const { servers, kube } = await context.sources();
    if (context.settings.leaseSource !== "kubernetes")
      throw new NotApplicable("leases are not known to be in Kubernetes");
    if (servers.length === 0) throw new NotApplicable(whyNoServers(context));
    if (kube === undefined) throw new NotApplicable("the API server does not answer");
    if (kube.node === undefined) throw new NotApplicable("which Node is this one's is not known: set NODE_NAME");
    return [judgeNode(kube.node, await context.network().catch(() => undefined))];
  },
};

const networkConfig: Check = {
  group: "Lease source",
  name: "network-config",
  find: async (context) => {
    let known: Awaited<ReturnType<Context["readNetwork"]>>;
    try {
      known = await context.readNetwork();
    } catch (cause) {
      const what = cause instanceof NetConfError ? cause.message : describeError(cause);
      if (context.agent?.config.network) return [ok(`the agent has it; here it can't be read: ${what}`)];
      const [problem, advice] = splitAdvice(what);
      return [error(problem, advice ?? "correct the network's configuration")];
    }
    const { config, from, warnings } = known;
    const networks = Object.values(config.ranges).map(({ network }) => formatPrefix(network));
    const { vni, port } = config.backend;
    const told = `${networks.join(" and ")}, VXLAN with VNI ${vni}${port === undefined ? "" : ` and port ${port}`}`;
    if (from === undefined) return [skipped(`there is none yet: the checks go by the manifest's, ${told}`)];
    return orOk(
      warnings.map((text) => warning(text, "take it out of the network's configuration")),
      `${from} has ${told}`,
    );
  },
};

export const LEASE_CHECKS = [reach, rights, networkConfig, node];
