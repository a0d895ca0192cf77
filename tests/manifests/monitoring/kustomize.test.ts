import { beforeAll, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { parseListenAddress } from "../../../src/config/listen-address.ts";
import { useKubernetes } from "../../support/kube.ts";
import { describeWithKubectl, hasOldKustomize, Kubectl, kubectl } from "../../support/kubectl.ts";
import { useTemporaryFolder } from "../../support/temp.ts";
import { type KubeObject, MANIFESTS, objectsIn, plainObjects } from "../objects.ts";

const Patches = v.object({
  resources: v.array(v.string()),
  patches: v.tuple([v.strictObject({ path: v.string(), target: v.object({ kind: v.string(), name: v.string() }) })]),
});

/** As the operator's documentation has it: https://prometheus-operator.dev/docs/api-reference/api/ */
const Relabeling = v.strictObject({
  sourceLabels: v.optional(v.array(v.string())),
  targetLabel: v.string(),
  replacement: v.optional(v.string()),
});
const ServiceMonitor = v.object({
  apiVersion: v.literal("monitoring.coreos.com/v1"),
  kind: v.literal("ServiceMonitor"),
  metadata: v.object({ namespace: v.literal("kube-flannel") }),
  spec: v.strictObject({
    selector: v.strictObject({ matchLabels: v.record(v.string(), v.string()) }),
    endpoints: v.tuple([
      v.strictObject({
        port: v.string(),
        path: v.literal("/metrics"),
        interval: v.pipe(v.string(), v.regex(/^\d+s$/)),
        relabelings: v.array(Relabeling),
      }),
    ]),
  }),
});
const Service = v.object({
  metadata: v.object({ namespace: v.literal("kube-flannel"), labels: v.record(v.string(), v.string()) }),
  spec: v.object({
    clusterIP: v.literal("None"),
    publishNotReadyAddresses: v.literal(true),
    selector: v.record(v.string(), v.string()),
    ports: v.tuple([v.object({ name: v.string(), port: v.number(), targetPort: v.string() })]),
  }),
});
const Container = v.looseObject({
  args: v.array(v.string()),
  env: v.array(v.looseObject({ name: v.string() })),
  ports: v.optional(v.array(v.object({ name: v.string(), containerPort: v.number() })), []),
});
const DaemonSet = v.object({
  spec: v.object({
    template: v.looseObject({
      metadata: v.object({ labels: v.record(v.string(), v.string()) }),
      spec: v.looseObject({ containers: v.tuple([Container]) }),
    }),
  }),
});

const ofKind = (objects: readonly KubeObject[], kind: string) => objects.filter((one) => one.kind === kind);

describeWithKubectl("the overlay monitoring", () => {
  const folder = useTemporaryFolder();
  const kubernetes = useKubernetes();
  let objects: KubeObject[] = [];

  beforeAll(async () => {
    cpSync(join(MANIFESTS, "kustomize"), folder.path, { recursive: true });
    const overlay = folder.at("overlays", "monitoring");
    if (await hasOldKustomize()) {
      // It knows no components: what this one does, in its words.
      const component = folder.at("components", "monitoring");
      const { resources, patches } = v.parse(
        Patches,
        Bun.YAML.parse(await Bun.file(join(component, "kustomization.yaml")).text()),
      );
      cpSync(component, overlay, { recursive: true });
      const [{ path, target }] = patches;
      const patchesJson6902 = [
        { path, target: { group: "apps", version: "v1", ...target, namespace: "kube-flannel" } },
      ];
      await Bun.write(
        join(overlay, "kustomization.yaml"),
        JSON.stringify({ bases: ["../../base"], resources, patchesJson6902 }),
      );
    }
    objects = objectsIn(await kubectl(["kustomize", overlay]));
  });

  test("has the agent listen at its node's address, which nothing else changes", async () => {
    const [changed] = ofKind(objects, "DaemonSet");
    const [plain] = ofKind(await plainObjects(), "DaemonSet");
    const { template } = v.parse(DaemonSet, changed).spec;
    const before = v.parse(DaemonSet, plain).spec.template;
    const [agent] = template.spec.containers;
    const [agentBefore] = before.spec.containers;
    const added = agent.args.filter((arg) => !agentBefore.args.includes(arg));
    const addresses = added.map((arg) => arg.replace("--debug-addr=", ""));
    expect(added).toEqual(addresses.map((address) => `--debug-addr=${address}`));
    for (const node of ["192.0.2.1", "2001:db8::1"]) {
      const parsed = addresses.map((address) => parseListenAddress(address.replace("$(NODE_IP)", node)));
      expect(parsed).not.toContain(undefined);
      expect(parsed).toContainEqual({ kind: "tcp", host: node, port: agent.ports[0]?.containerPort ?? 0 });
    }
    const nodeIP = { name: "NODE_IP", valueFrom: { fieldRef: { fieldPath: "status.hostIP" } } };
    expect(agent.env).toContainEqual(nodeIP);
    const restored = {
      ...agent,
      args: agentBefore.args,
      env: agent.env.filter(({ name }) => name !== "NODE_IP"),
      ports: agentBefore.ports,
    };
    expect({ ...template, spec: { ...template.spec, containers: [restored] } }).toEqual({
      ...before,
      spec: { ...before.spec, containers: [agentBefore] },
    });
    expect(objects.filter(({ kind }) => !["DaemonSet", "ServiceMonitor", "PrometheusRule"].includes(kind))).toEqual(
      expect.arrayContaining((await plainObjects()).filter(({ kind }) => kind !== "DaemonSet")),
    );
  });

  test("has a ServiceMonitor that finds the agents by a Service, ready or not, and names the node", () => {
    const monitor = v.parse(ServiceMonitor, ofKind(objects, "ServiceMonitor")[0]).spec;
    const { metadata, spec: service } = v.parse(Service, ofKind(objects, "Service")[0]);
    const { template } = v.parse(DaemonSet, ofKind(objects, "DaemonSet")[0]).spec;
    expect(metadata.labels).toMatchObject(monitor.selector.matchLabels);
    expect(template.metadata.labels).toMatchObject(service.selector);
    const [{ port, relabelings }] = monitor.endpoints;
    const [servicePort] = service.ports;
    expect(servicePort.name).toBe(port);
    expect(template.spec.containers[0].ports).toEqual([
      { name: servicePort.targetPort, containerPort: servicePort.port },
    ]);
    expect(relabelings).toEqual([
      { sourceLabels: ["__meta_kubernetes_pod_node_name"], targetLabel: "instance" },
      { targetLabel: "job", replacement: "tartan" },
    ]);
  });

  test("is valid at the real API server, as far as that knows its kinds", async () => {
    const admin = await Kubectl.of(await kubernetes.start());
    const known = objects.filter(({ kind }) => !["ServiceMonitor", "PrometheusRule"].includes(kind));
    const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: known });
    const dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
    expect((await admin.run(dry, text)).trim().split("\n")).toHaveLength(known.length);
  });
});
