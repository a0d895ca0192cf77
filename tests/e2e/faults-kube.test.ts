import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { inParallel } from "../../src/cli/lab/parallel.ts";
import { Authority } from "../../src/cli/lab/servers/certificates.ts";
import { annotationsOf, BACKEND_DATA, MANAGED, podCIDR, publishedNode } from "../support/flannel/annotations.ts";
import { KubeCluster } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { Overlay } from "../support/overlay.ts";
import { withoutLoss } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** How long the API server is away at least, in seconds. */
const OUTAGE = 60;
const JOINING = 500;
/** Requests under way at once. */
const WORKERS = 32;
// Starts of the API server take their time on a busy machine.
setDefaultTimeout(240_000);

describeInNamespaces("what befalls Kubernetes costs no packet between healthy nodes", () => {
  describeWithKubernetes("while agents have their leases there", () => {
    // Before the folder goes: what still runs would write into it again.
    afterAll(async () => {
      await cluster?.[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const folder = useTemporaryFolder();
    const overlay = new Overlay(folder.path);
    let cluster: KubeCluster;

    beforeAll(async () => {
      await overlay.create(0, { Network: "10.240.0.0/12", Backend: { Type: "vxlan" } });
      cluster = await KubeCluster.start({ place: { ns: await overlay.addHost(250), address: "192.0.2.250" } });
      await rotateToken();
      const kubeconfig = await cluster.kubeconfig({ tokenFile: folder.at("token") });
      overlay.leases = ["--kube-subnet-mgr", `--kubeconfig-file=${kubeconfig}`, `--net-config-path=${overlay.netConf}`];
      for (const number of [1, 2, 3]) {
        await cluster.createNode(`n${number}`, { spec: podCIDR(`10.244.${number}.0/24`) });
        // No probes: nodes that are made up below would not answer them.
        await overlay.addNode(number, ["--probe-interval=0"]);
      }
      await overlay.start();
      await overlay.attachPods();
    });

    const secrets = "/api/v1/namespaces/kube-flannel/secrets";
    let tokens = 0;
    /** Puts a new token in place of the one before, which is not valid any more. */
    const rotateToken = async (): Promise<void> => {
      const name = `token-${++tokens}`;
      await cluster.request("POST", secrets, { metadata: { name } });
      await Bun.write(folder.at("token"), await cluster.token(name));
      if (tokens > 1) await cluster.request("DELETE", `${secrets}/token-${tokens - 1}`);
    };

    const agents = () => overlay.nodes.map(({ agent }) => agent);
    const settled = (leases: number, within?: number) =>
      Promise.all(agents().map((agent) => agent.settled(leases, within)));
    const inContact = () => Promise.all(agents().map((agent) => agent.warned("leaseSource", false, 60_000)));
    /** What happens in the cluster is seen by all. */
    const isFollowed = async (): Promise<void> => {
      const { length } = await overlay.node(1).agent.leases();
      await cluster.createNode("n77", publishedNode(77));
      await settled(length + 1, 30_000);
      await cluster.deleteNode("n77");
      await settled(length, 30_000);
    };

    test("the API server killed for 60 s and back: ready all the while, what drifts is mended, a warning says how long", async () => {
      await cluster.createNode("n66", publishedNode(66));
      await settled(4);
      await overlay.withoutLoss(async (ping) => {
        const { agent, ns } = overlay.node(1);
        await cluster.signal("kube-apiserver", "SIGKILL");
        await agent.warned("leaseSource", true);
        const route = ["10.244.66.0/24", "dev", "flannel.1"];
        await ns.exec(["ip", "route", "del", ...route]);
        await eventually(async () => (await ns.exec(["ip", "route", "show", ...route])) !== "", {
          within: 15_000,
          what: "the route is back without the API server",
        });
        const ages: number[] = [];
        while ((ages.at(-1) ?? 0) < OUTAGE) {
          await ping.answers(100, 10_000);
          expect(await agent.readiness()).toMatchObject({ status: 200, ready: true });
          const [warning = ""] = await agent.warnings("leaseSource");
          const told = /^kubernetes https:\/\/192\.0\.2\.250:6443: last contact (\d+) s ago: can't .* nodes/;
          expect(warning).toMatch(told);
          ages.push(Number(told.exec(warning)?.[1]));
        }
        expect(ages).toEqual(ages.toSorted((a, b) => a - b));
        await cluster.restart();
        await inContact();
        await cluster.deleteNode("n66");
        await settled(3);
      });
      await isFollowed();
    });

    test("the token rotated and the old one revoked: the agents go on with the new one", async () => {
      const before = await Bun.file(folder.at("token")).text();
      await overlay.withoutLoss(async () => {
        await rotateToken();
        // So that it forgets what it accepted, and asks everybody again.
        await cluster.signal("kube-apiserver", "SIGKILL");
        await cluster.restart();
        await expect(cluster.request("GET", "/api/v1/nodes", undefined, before)).rejects.toThrow("401");
        await inContact();
        await isFollowed();
        await cluster.annotate("n1", { [MANAGED]: null });
        await eventually(async () => (await cluster.node("n1")).metadata.annotations[MANAGED] === "true", {
          within: 10_000,
          what: "an agent writes, too",
        });
      });
    });

    test("a certificate of an unknown authority: refused, the authority named, nothing of it believed", async () => {
      const impostor = await Authority.create(folder.path, "impostor");
      const names = ["IP:192.0.2.250", "IP:127.0.0.1"];
      await overlay.withoutLoss(async (ping) => {
        await cluster.signal("kube-apiserver", "SIGKILL");
        await cluster.present(await impostor.issue("apiserver", names));
        await cluster.restart();
        const { agent } = overlay.node(1);
        const refusal = 'its certificate is signed by an unknown authority, "impostor", not by one in';
        await eventually(async () => (await agent.warnings("leaseSource"))[0]?.includes(refusal), {
          within: 30_000,
          what: "the authority is named",
        });
        await cluster.createNode("n67", publishedNode(67));
        await ping.answers(100, 10_000);
        expect(await agent.readiness()).toMatchObject({ status: 200, ready: true });
        expect(await agent.leases()).toHaveLength(3);
        await cluster.signal("kube-apiserver", "SIGKILL");
        await cluster.present(await cluster.authority.issue("apiserver-again", names));
        await cluster.restart();
        await settled(4, 60_000);
        await inContact();
        await cluster.deleteNode("n67");
        await settled(3);
      });
    });

    test("500 nodes that join at once are all programmed", async () => {
      const labels = { joins: "yes" };
      const joining = Array.from({ length: JOINING }, (_, i) => ({ name: `joining-${i}`, high: i >> 8, low: i & 255 }));
      const each = (work: (node: (typeof joining)[number]) => Promise<unknown>) =>
        inParallel(joining, { limit: WORKERS, signal: new AbortController().signal }, work);
      await each(({ name, high, low }) =>
        cluster.createNode(name, { labels, spec: podCIDR(`10.${250 + high}.${low}.0/24`) }),
      );
      const { sent } = await overlay.withoutLoss(async () => {
        const started = performance.now();
        await each(({ name, high, low }) => {
          const hex = (byte: number) => byte.toString(16).padStart(2, "0");
          const mac = `02:01:00:00:${hex(high)}:${hex(low)}`;
          return cluster.annotate(name, annotationsOf(`198.18.${high}.${low}`, mac));
        });
        const joined = performance.now();
        await settled(3 + JOINING, 60_000);
        const times = [joined, performance.now()].map((at) => ((at - started) / 1000).toFixed(2));
        console.log(`${JOINING} nodes joined in ${times[0]} s; all of them programmed by 3 agents after ${times[1]} s`);
        expect((await overlay.node(1).agent.state()).desired?.routes).toBe(2 + JOINING);
        await cluster.deleteAllNodes("joins=yes");
        await settled(3, 60_000);
      });
      expect(sent).toBeGreaterThan(0);
    });

    test('an annotation {"VNI":"x"}: its node stays as it was; one that never was good is left out, counted and shown', async () => {
      const bad = { [BACKEND_DATA]: '{"VNI":"x"}' };
      const { agent } = overlay.node(1);
      const told = (text: string) =>
        eventually(async () => (await agent.warnings("peers")).some((warning) => warning.includes(text)), {
          within: 15_000,
          what: `a warning says: ${text}`,
        });
      await overlay.withoutLoss(async (ping) => {
        // Or it would mend the annotation at once.
        overlay.node(2).agent.signal("SIGSTOP");
        try {
          await cluster.annotate("n2", bad);
          await told(`lease n2 of n2 stays as it was: annotation ${BACKEND_DATA}`);
          const never = publishedNode(68);
          await cluster.createNode("n68", { ...never, annotations: { ...never.annotations, ...bad } });
          await told(`lease n68 of n68 is left out: annotation ${BACKEND_DATA}`);
          const { rejectedLeases } = await agent.state();
          expect((await agent.leases()).map(({ key }) => key)).toEqual(["n1", "n2", "n3"]);
          expect(rejectedLeases.map(({ key }) => key)).toEqual(["n2", "n68"]);
          expect((await agent.readiness()).ready).toBe(true);
          await agent.settled(3);
          await ping.answers(50, 10_000);
        } finally {
          overlay.node(2).agent.signal("SIGCONT");
        }
        await cluster.deleteNode("n68");
        await agent.warned("peers", false);
        await settled(3);
      });
    });

    test("a watch that falls silent as its node changes its address is given up, and goes on (one that only falls silent: the driver's tests)", async () => {
      const { ns, agent, pod } = overlay.node(3);
      const { agent: other } = overlay.node(1);
      await overlay.withoutLoss(async () => {
        await ns.exec(["ip", "address", "del", "192.0.2.3/24", "dev", "eth0"]);
        await ns.exec(["ip", "address", "add", "192.0.2.103/24", "dev", "eth0"]);
        const isKnown = async () => (await other.leases()).some(({ ipv4 }) => ipv4.publicIP === "192.0.2.103");
        await eventually(isKnown, { within: 30_000, what: "the new address is published, the others follow" });
        await agent.ready();
        await cluster.createNode("n69", publishedNode(69));
        await settled(4, 30_000);
        await cluster.deleteNode("n69");
        await settled(3);
      });
      expect((await agent.lease()).ipv4.subnet).toBe("10.244.3.0/24");
      await withoutLoss(pod, overlay.node(1).podAddress, async () => {});
    });
  });
});
