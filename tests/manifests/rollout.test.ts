import { afterAll, beforeAll, expect, test } from "bun:test";
import * as v from "valibot";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { kubeBinary } from "../support/kube-binaries.ts";
import { describeWithKubectl, Kubectl } from "../support/kubectl.ts";
import { eventually } from "../support/wait.ts";
import { FLANNEL } from "./flannel.ts";
import { PLAIN, plainDaemonSet } from "./objects.ts";

const Pods = v.object({
  items: v.array(
    v.object({
      metadata: v.object({ name: v.string(), deletionTimestamp: v.optional(v.string()) }),
      spec: v.object({
        nodeName: v.optional(v.string()),
        containers: v.array(v.object({ image: v.string() })),
        affinity: v.unknown(),
      }),
      status: v.object({ conditions: v.optional(v.array(v.record(v.string(), v.nullable(v.string()))), []) }),
    }),
  ),
});
type Pod = v.InferOutput<typeof Pods>["items"][number];

/** Ready for longer than minReadySeconds. (Pods that are not are replaced first, and all at once.) */
const LONG_AGO = new Date(Date.now() - 3_600_000);
const PODS = "/api/v1/namespaces/kube-flannel/pods";

describeWithKubectl("the manifest applied over flannel, under the real DaemonSet controller", () => {
  // Before the cluster goes: what still runs would ask it.
  afterAll(async () => {
    stopped = true;
    await kubelets;
    controller?.kill("SIGKILL");
    await controller?.exited;
  });

  const kubernetes = useKubernetes();
  let cluster: KubeCluster;
  let admin: Kubectl;
  let controller: Bun.Subprocess | undefined;
  let image = "";
  /** Nodes on which a new agent does not get ready */
  const failing = new Set<string>();
  let stopped = false;
  let kubelets: Promise<void> | undefined;

  beforeAll(async () => {
    cluster = await kubernetes.start();
    admin = await Kubectl.of(cluster);
    image = (await plainDaemonSet()).spec.template.spec.containers[0]?.image ?? "";
    const command = [
      kubeBinary("kube-controller-manager"),
      "--controllers=daemonset",
      `--kubeconfig=${admin.kubeconfig}`,
      ...["--leader-elect=false", "--port=0", "--secure-port=0"],
    ];
    controller = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    kubelets = actAsKubelets();
  });

  const pods = async (): Promise<Pod[]> => v.parse(Pods, await cluster.request("GET", PODS)).items;
  const isNew = ({ spec }: Pod): boolean => spec.containers[0]?.image === image;
  const isReady = ({ status }: Pod): boolean =>
    status.conditions.some(({ type, status: value }) => type === "Ready" && value === "True");
  const nodesOf = (found: readonly Pod[]) => found.map(({ spec }) => spec.nodeName).sort();
  /** The Node that the controller means a pod for. */
  const meantFor = ({ spec }: Pod): string | undefined =>
    /"values":\["(node-\d+)"\]/.exec(JSON.stringify(spec.affinity))?.[1];

  /** What the scheduler and the kubelets do of which the controller takes notice. */
  async function actAsKubelets(): Promise<void> {
    while (!stopped) {
      for (const pod of await pods()) {
        const { name, deletionTimestamp } = pod.metadata;
        const node = pod.spec.nodeName ?? meantFor(pod);
        if (node === undefined) continue;
        if (deletionTimestamp !== undefined) {
          await cluster.request("DELETE", `${PODS}/${name}?gracePeriodSeconds=0`).catch(() => {});
        } else if (pod.spec.nodeName === undefined) {
          const target = { kind: "Node", name: node };
          await cluster.request("POST", `${PODS}/${name}/binding`, { metadata: { name }, target });
        } else {
          const ready = !(isNew(pod) && failing.has(node));
          if (ready === isReady(pod)) continue;
          const condition = {
            type: "Ready",
            status: ready ? "True" : "False",
            lastTransitionTime: isNew(pod) ? new Date() : LONG_AGO,
          };
          await cluster
            .request("PATCH", `${PODS}/${name}/status`, { status: { conditions: [condition] } })
            .catch(() => {});
        }
      }
      await Bun.sleep(50);
    }
  }

  test("a version that does not get ready stops at the first node; once it does, the next follows", async () => {
    const names = ["node-1", "node-2", "node-3"];
    const labels = { "kubernetes.io/os": "linux" };
    const create = (name: string) => cluster.request("POST", "/api/v1/nodes", { metadata: { name, labels } });
    for (const name of names) await create(name);
    await admin.run(["apply", "-f", "-"], FLANNEL);
    await eventually(async () => (await pods()).filter(isReady).length === names.length, {
      within: 30_000,
      what: "flannel runs everywhere",
    });
    for (const name of [...names, "node-4"]) failing.add(name);

    await admin.run(["apply", "-f", PLAIN]);
    await eventually(async () => (await pods()).filter(isNew).length === 1, {
      within: 30_000,
      what: "the first is new",
    });
    // A further Node makes the controller look at all of them once more, and it is seen when it did.
    await create("node-4");
    await eventually(async () => nodesOf((await pods()).filter(isNew)).includes("node-4"), {
      within: 30_000,
      what: "the controller went on",
    });
    const left = (await pods()).filter((pod) => !isNew(pod));
    expect(left.filter(isReady)).toHaveLength(names.length - 1);

    failing.clear();
    const following = async () =>
      nodesOf((await pods()).filter((pod) => isNew(pod) && names.includes(pod.spec.nodeName ?? "")));
    await eventually(async () => (await following()).length === 2, { within: 60_000, what: "the next node follows" });
  }, 120_000);
});
