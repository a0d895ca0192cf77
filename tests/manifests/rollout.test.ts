import { afterAll, beforeAll, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { kubeBinary } from "../support/kube-binaries.ts";
import { describeWithKubectl, Kubectl } from "../support/kubectl.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { FLANNEL } from "./flannel.ts";
import { MANIFESTS, PLAIN, plainDaemonSet } from "./objects.ts";

const Image = v.object({ image: v.string() });
const Pods = v.object({
  items: v.array(
    v.object({
      metadata: v.object({ name: v.string(), uid: v.string(), deletionTimestamp: v.optional(v.string()) }),
      spec: v.object({
        nodeName: v.optional(v.string()),
        containers: v.array(Image),
        initContainers: v.array(Image),
        affinity: v.unknown(),
      }),
      status: v.object({ conditions: v.optional(v.array(v.record(v.string(), v.nullable(v.string()))), []) }),
    }),
  ),
});
type Pod = v.InferOutput<typeof Pods>["items"][number];

/** Ready for longer than minReadySeconds. (Pods that are not are replaced first, and all at once.) */
const LONG_AGO = new Date(Date.now() - 3_600_000);
const README = await Bun.file(join(MANIFESTS, "..", "README.md")).text();
const Progress = v.object({
  metadata: v.object({ generation: v.number() }),
  status: v.object({ observedGeneration: v.number(), numberReady: v.number() }),
});
const PODS = "/api/v1/namespaces/kube-flannel/pods";

describeWithKubectl("the manifest applied over flannel, under the real DaemonSet controller", () => {
  // Before the cluster goes: what still runs would ask it.
  afterAll(async () => {
    stopped = true;
    await kubelets;
    controller?.kill("SIGKILL");
    await controller?.exited;
  });

  const folder = useTemporaryFolder();
  const kubernetes = useKubernetes();
  let cluster: KubeCluster;
  let admin: Kubectl;
  let controller: Bun.Subprocess | undefined;
  let image = "";
  /** Pods that do not get ready */
  let isFailing = (_: Pod): boolean => false;
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
  const isFlannels = ({ spec }: Pod): boolean => spec.containers[0]?.image.includes("/flannel:") ?? false;
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
          // Like the others: the controller may have taken the pod away meanwhile.
          await cluster.request("POST", `${PODS}/${name}/binding`, { metadata: { name }, target }).catch(() => {});
        } else {
          const ready = !isFailing(pod);
          if (ready === isReady(pod)) continue;
          const condition = {
            type: "Ready",
            status: ready ? "True" : "False",
            lastTransitionTime: isFlannels(pod) ? LONG_AGO : new Date(),
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
      within: 60_000,
      what: "flannel runs everywhere",
    });
    isFailing = isNew;

    await admin.run(["apply", "-f", PLAIN]);
    await eventually(async () => (await pods()).filter(isNew).length === 1, {
      within: 60_000,
      what: "the first is new",
    });
    // A further Node makes the controller look at all of them once more, and it is seen when it did.
    await create("node-4");
    await eventually(async () => nodesOf((await pods()).filter(isNew)).includes("node-4"), {
      within: 60_000,
      what: "the controller went on",
    });
    const left = (await pods()).filter((pod) => !isNew(pod));
    expect(left.filter(isReady)).toHaveLength(names.length - 1);

    isFailing = () => false;
    const following = async () =>
      nodesOf((await pods()).filter((pod) => isNew(pod) && names.includes(pod.spec.nodeName ?? "")));
    await eventually(async () => (await following()).length === 2, { within: 60_000, what: "the next node follows" });
  }, 300_000);

  /** Runs a line of the README in a folder with the manifests and flannel's. */
  const operate = (line: string, more = ""): Promise<string> => {
    expect(README).toContain(`\n    ${line}\n`);
    return admin.shell(line + more, folder.path);
  };
  const uids = async () => (await pods()).map(({ metadata }) => metadata.uid).sort();
  const onNew = async () => nodesOf((await pods()).filter(isNew));
  /** Waits until the controller knows what was applied last. */
  const observed = () =>
    eventually(
      async () => {
        const { metadata, status } = await admin.get(Progress, "-n=kube-flannel", "daemonset", "kube-flannel-ds");
        return status.observedGeneration === metadata.generation;
      },
      { within: 60_000, what: "the controller knows what was applied" },
    );

  test("back to flannel, then over again a node at a time, and back by an undo: as the README has it", async () => {
    symlinkSync(MANIFESTS, folder.at("manifests"));
    await Bun.write(folder.at("kube-flannel.yml"), FLANNEL);
    const nodes = ["node-1", "node-2", "node-3", "node-4"];
    const isBack = async () => {
      const found = await pods();
      return found.length === nodes.length && found.every((pod) => !isNew(pod) && isReady(pod));
    };

    await operate("kubectl apply -f kube-flannel.yml");
    await eventually(isBack, { within: 60_000, what: "flannel runs everywhere again" });

    const differences = await admin.shell("kubectl diff -f manifests/tartan.yml || test $? = 1", folder.path);
    expect(README).toContain("\n    kubectl diff -f manifests/tartan.yml\n");
    expect(differences).toContain(`+        image: ${image}`);

    await operate("sed 's/type: RollingUpdate/type: OnDelete/' manifests/tartan.yml | kubectl apply -f -");
    await observed();
    const one = "-l app=flannel --field-selector spec.nodeName=node-1";
    const flannels = await uids();
    await operate(`kubectl -n kube-flannel delete pod ${one}`);
    await eventually(async () => (await onNew()).length > 0, { within: 60_000, what: "the node's pod is new" });
    await operate(`kubectl -n kube-flannel wait --for=condition=Ready pod ${one}`);
    expect(await operate("kubectl get node node-1")).toContain("node-1");
    const port = /--healthz-port=(\d+)/.exec(await Bun.file(PLAIN).text())?.[1];
    expect(README).toContain(`\n    curl http://127.0.0.1:${port}/readyz\n`);
    expect(await onNew()).toEqual(["node-1"]);
    expect((await uids()).filter((uid) => flannels.includes(uid))).toHaveLength(nodes.length - 1);
    for (const name of nodes.slice(1)) {
      await admin.shell(`kubectl -n kube-flannel delete pod ${one.replace("node-1", name)}`, folder.path);
    }
    await eventually(async () => Bun.deepEquals(await onNew(), nodes), { within: 60_000, what: "all nodes are new" });

    const before = await uids();
    await operate("kubectl apply -f manifests/tartan.yml");
    await observed();
    await operate("kubectl -n kube-flannel rollout status daemonset/kube-flannel-ds");
    expect(await uids()).toEqual(before);

    // An upgrade of a kind that does not get ready stops at the first node, and the undo leads back.
    const upgrade = /\n {4}(kubectl -n kube-flannel set image .*)\n/.exec(README)?.[1] ?? "";
    const isUpgraded = ({ spec }: Pod) =>
      [...spec.initContainers, ...spec.containers].every((each) => upgrade.endsWith(`'*=${each.image}'`));
    isFailing = isUpgraded;
    await operate(upgrade);
    const upgraded = async () => (await pods()).filter(isUpgraded).length;
    await eventually(async () => (await upgraded()) === 1, { within: 60_000, what: "one node has the new version" });
    await operate("kubectl -n kube-flannel rollout undo daemonset/kube-flannel-ds");
    await eventually(async () => (await upgraded()) === 0, { within: 60_000, what: "no node has it any more" });
    await operate("kubectl -n kube-flannel rollout status daemonset/kube-flannel-ds");
    expect((await uids()).filter((uid) => before.includes(uid))).toHaveLength(nodes.length - 1);

    const removed = await operate("kubectl delete -f manifests/tartan.yml", " --dry-run=server");
    expect(removed.trim().split("\n")).toHaveLength(6);
  }, 400_000);
});
