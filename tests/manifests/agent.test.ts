import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { findFlag, flagSpec } from "../../src/config/flag-table.ts";
import { executable } from "../support/executable.ts";
import { KubeCluster } from "../support/kube.ts";
import { describeWithKubectl, Kubectl } from "../support/kubectl.ts";
import type { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { startContainer } from "../support/pod.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder, useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { ClusterRole, ConfigMap, PLAIN, plainDaemonSet, plainObjects } from "./objects.ts";

const ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/flannel";
const API = { address: "192.0.2.250", port: "6443" };
const Review = v.object({ status: v.object({ allowed: v.boolean() }) });
const AgentContainer = v.object({
  securityContext: v.object({
    readOnlyRootFilesystem: v.literal(true),
    capabilities: v.object({ drop: v.tuple([v.literal("ALL")]), add: v.array(v.string()) }),
  }),
  readinessProbe: v.object({ httpGet: v.object({ host: v.string(), path: v.string(), port: v.number() }) }),
  resources: v.object({ limits: v.object({ memory: v.string() }) }),
});

const objectOf = async <T>(schema: v.GenericSchema<unknown, T>, kind: string): Promise<T> =>
  v.parse(
    schema,
    (await plainObjects()).find((one) => one.kind === kind),
  );

/** The agent as the DaemonSet's container, without what this build refuses. */
class ManifestAgent implements AsyncDisposable {
  readonly folder = new TemporaryFolder();
  readonly #child: Bun.Subprocess<"ignore", "ignore", "pipe">;
  log = "";

  private constructor(child: (folder: TemporaryFolder) => Bun.Subprocess<"ignore", "ignore", "pipe">) {
    this.#child = child(this.folder);
    void this.#collect();
  }

  static async start(ns: Netns, cluster: KubeCluster): Promise<ManifestAgent> {
    const [container] = (await plainDaemonSet()).spec.template.spec.containers;
    if (container === undefined) throw new Error("the DaemonSet has no container");
    const { securityContext } = v.parse(AgentContainer, container);
    const { data } = await objectOf(ConfigMap, "ConfigMap");
    const account = await cluster.serviceAccountFolder();
    const values: Readonly<Record<string, string>> = {
      NODE_NAME: "n1",
      POD_NAME: "kube-flannel-ds-x",
      POD_NAMESPACE: "kube-flannel",
      ...{ KUBERNETES_SERVICE_HOST: API.address, KUBERNETES_SERVICE_PORT: API.port },
    };
    const given = [...container.env.map(({ name }) => name), "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];
    const args = container.args.filter((arg) => {
      const flag = findFlag(/^--([^=]+)/.exec(arg)?.[1] ?? "");
      if (flag === undefined) throw new Error(`the agent has no flag ${arg}`);
      return flagSpec(flag).notYet === undefined;
    });
    const agent = new ManifestAgent((folder) => {
      for (const name of ["run", "run-tartan", "net.d", "config"]) mkdirSync(folder.at(name));
      writeFileSync(folder.at("xtables.lock"), "");
      return startContainer(ns, folder, {
        command: [...container.command, ...args],
        env: Object.fromEntries(given.map((name) => [name, values[name] ?? ""])),
        capabilities: securityContext.capabilities.add.map((name) => name.toLowerCase()),
        mounts: {
          "/opt/bin/flanneld": executable(),
          "/var/run/secrets/kubernetes.io/serviceaccount": account,
          "/run/flannel": folder.at("run"),
          "/run/tartan": folder.at("run-tartan"),
          "/run/xtables.lock": folder.at("xtables.lock"),
          "/etc/kube-flannel": folder.at("config"),
          "/etc/cni/net.d": folder.at("net.d"),
        },
      });
    });
    for (const [name, text] of Object.entries(data)) await Bun.write(agent.folder.at("config", name), text);
    return agent;
  }

  get pid(): number {
    return this.#child.pid;
  }

  async #collect(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stderr) this.log += decoder.decode(chunk, { stream: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
    this.folder[Symbol.dispose]();
  }
}

describeInNamespaces("the manifest's DaemonSet", () => {
  describeWithKubectl("with the manifest's account, in the manifest's security context", () => {
    afterAll(async () => {
      await cluster?.[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const folder = useTemporaryFolder();
    const overlay = new Overlay(folder.path);
    let cluster: KubeCluster;
    let ns: Netns;

    beforeAll(async () => {
      await overlay.create(1);
      ns = overlay.node(1).ns;
      // The manifest names no interface: it is that of the default route.
      await ns.exec(["ip", "route", "add", "default", "via", API.address]);
      const place = { ns: await overlay.addHost(250), address: API.address };
      cluster = await KubeCluster.start({ place });
      const admin = await Kubectl.of(cluster, ns);
      await admin.run(["apply", "-f", PLAIN]);
      await cluster.createNode("n1", { spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] } });
    });

    /** Asks as the kubelet's probe does. @returns the status of the answer and its text */
    const probe = async (): Promise<string> => {
      const [container] = (await plainDaemonSet()).spec.template.spec.containers;
      const { host, port, path } = v.parse(AgentContainer, container).readinessProbe.httpGet;
      const script = `const answer = await fetch("http://${host}:${port}${path}");
        process.stdout.write(String(answer.status) + " " + (await answer.text()));`;
      return ns.exec([process.execPath, "--eval", script]);
    };
    const conditions = async () => (await cluster.node("n1")).status.conditions;

    test("gets ready, says so to probe and Node, and stays below its memory limit", async () => {
      await using agent = await ManifestAgent.start(ns, cluster);
      await eventually(async () => (await probe()).startsWith("200 "), {
        within: 20_000,
        what: "the readiness probe is content",
      }).catch((cause: unknown) => {
        throw new Error(`its log:\n${agent.log}`, { cause });
      });
      await eventually(
        async () =>
          (await conditions()).some((one) => one["type"] === "NetworkUnavailable" && one["status"] === "False"),
        { within: 10_000, what: "the Node's condition is set" },
      );
      expect(readFileSync(agent.folder.at("run", "subnet.env"), "utf8")).toContain("FLANNEL_SUBNET=10.244.1.1/24");
      const { data } = await objectOf(ConfigMap, "ConfigMap");
      expect(readFileSync(agent.folder.at("net.d", "10-flannel.conflist"), "utf8")).toBe(data["cni-conf.json"] ?? "");
      expect(await ns.exec(["ip", "-o", "link", "show", "flannel.1"])).toContain("flannel.1");
      const socket = statSync(agent.folder.at("run-tartan", "debug.sock"));
      expect([socket.isSocket(), socket.mode & 0o777]).toEqual([true, 0o600]);
      expect(agent.log).not.toContain(" ERROR ");
      const status = readFileSync(`/proc/${agent.pid}/status`, "utf8");
      expect(/^CapEff:\s*(\w+)$/m.exec(status)?.[1]).toBe("0000000000003000");
      const megabytes = Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]) / 1024;
      const [container] = (await plainDaemonSet()).spec.template.spec.containers;
      const { memory } = v.parse(AgentContainer, container).resources.limits;
      expect(memory).toMatch(/^\d+Mi$/);
      expect(megabytes).toBeLessThan(Number.parseInt(memory, 10));
    });

    const allowed = async (verb: string, resource: string): Promise<boolean> => {
      const [name, subresource] = resource.split("/");
      const resourceAttributes = { verb, resource: name, subresource };
      const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
      const answer = await cluster.request("POST", path, { spec: { resourceAttributes } }, await cluster.token());
      return v.parse(Review, answer).status.allowed;
    };

    test("needs every verb of every rule: without it, the agent says that just this one is missing", async () => {
      const { rules } = await objectOf(ClusterRole, "ClusterRole");
      const all = rules.flatMap(({ resources, verbs }) =>
        resources.flatMap((resource) => verbs.map((verb) => ({ resource, verb }))),
      );
      expect(all).toHaveLength(4);
      for (const { resource, verb } of all) {
        const fewer = rules.map((rule) => ({
          ...rule,
          verbs: rule.verbs.filter((one) => one !== verb || !rule.resources.includes(resource)),
        }));
        await cluster.request("PATCH", ROLE, { rules: fewer.filter(({ verbs }) => verbs.length > 0) });
        await eventually(async () => !(await allowed(verb, resource)), { within: 10_000, what: "the right is gone" });
        // An own Node without a lease, so that there is something to publish.
        await cluster.annotate("n1", { "flannel.alpha.coreos.com/backend-data": null });
        await using agent = await ManifestAgent.start(ns, cluster);
        const told = async () => `${agent.log}${await probe()}`.replaceAll('\\"', '"');
        const rule = `needs the rule {apiGroups: [""], resources: ["${resource}"], verbs: ["${verb}"]}`;
        await eventually(async () => (await told()).includes(rule), {
          within: 20_000,
          what: `the agent says: ${rule}`,
        });
        const others = (await told()).match(/needs the rule [^}]*}/g)?.filter((one) => one !== rule);
        expect(others).toEqual([]);
        await cluster.request("PATCH", ROLE, { rules });
        await eventually(() => allowed(verb, resource), { within: 10_000, what: "the right is back" });
      }
    }, 300_000);
  });
});
