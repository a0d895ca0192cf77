import { beforeAll, describe, expect, test } from "bun:test";
import { Authority, type Certificate } from "../../../src/cli/lab/servers/certificates.ts";
import { describeWithEtcd, type EtcdServer, useEtcd } from "../../support/etcd.ts";
import { type KubeCluster, useKubernetes } from "../../support/kube.ts";
import { describeWithKubernetes } from "../../support/kube-binaries.ts";
import { useTemporaryFolder } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";
import { diagnose } from "./running-doctor.ts";

const NETWORK = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}';
const KEY = "/coreos.com/network/config";

/** Looks again where a server was slow to answer, of which it is to warn: the machine may be busy with something else. */
function diagnoseQuick(...args: Parameters<typeof diagnose>): ReturnType<typeof diagnose> {
  const look = async () => {
    const found = await diagnose(...args);
    return found.of("lease-source").some((text) => text.includes("answers only after")) ? undefined : found;
  };
  return eventually(look, { within: 60_000, what: "the servers are not slow" });
}

describeWithEtcd("tartan doctor and etcd", () => {
  const folder = useTemporaryFolder();
  const etcd = useEtcd();
  let good: Authority;
  let evil: Authority;
  let client: Certificate;
  let server: EtcdServer;

  beforeAll(async () => {
    good = await Authority.create(folder.path, "good-authority");
    evil = await Authority.create(folder.path, "evil-authority");
    client = await good.issue("client");
    server = await etcd.start({ certificate: await good.issue("server", ["IP:127.0.0.1"]), clientCa: good.ca });
    await server.ctl(["put", KEY, NETWORK]);
  });

  const look = (ca: string, ...flags: string[]) =>
    diagnoseQuick(undefined, [
      `--etcd-endpoints=${server.endpoint}`,
      `--etcd-cafile=${ca}`,
      `--etcd-certfile=${client.cert}`,
      `--etcd-keyfile=${client.key}`,
      ...flags,
    ]);

  test("reached by a certificate that is verified; rights, clock and the network's configuration are looked at", async () => {
    const keys = () => server.ctl(["get", "--prefix", "", "--keys-only"]);
    const before = await keys();
    const { of, report } = await look(good.ca);
    expect(report.configuration.leaseSource).toBe("etcd");
    expect(of("lease-source")).toEqual([
      expect.stringMatching(/^ok: https:\/\/127\.0\.0\.1:\d+ answers in \d+ ms by a certificate that was verified$/),
    ]);
    expect(of("rights")).toEqual(["ok: leases may be read and written"]);
    expect(of("clock")).toEqual([expect.stringMatching(/^ok: within \d\.\d s of that of https:/)]);
    expect(of("network-config")).toEqual(["ok: etcd (/coreos.com/network/config) has 10.244.0.0/16, VXLAN with VNI 1"]);
    // It only looked.
    expect(await keys()).toBe(before);
  });

  test("by a wrong authority: an error that names who signed it, and what to give", async () => {
    const { of, fixOf, code } = await look(evil.ca);
    expect(of("lease-source")).toEqual([
      expect.stringContaining('its certificate is signed by the unknown authority "good-authority"'),
    ]);
    expect(of("lease-source")[0]).toStartWith("error: ");
    expect(fixOf("lease-source")).toContain(`its certificate is not in ${evil.ca} (--etcd-cafile)`);
    expect(of("rights")).toEqual(["skipped: no server answers, see lease-source"]);
    expect(code).toBe(3);
  });

  test("one of two endpoints is down: a warning", async () => {
    const { of } = await look(good.ca, `--etcd-endpoints=${server.endpoint},https://127.0.0.1:1`);
    expect(of("lease-source")).toEqual([
      expect.stringMatching(/^ok: /),
      expect.stringMatching(/^warning: etcd https:\/\/127\.0\.0\.1:1: .*connection refused$/),
    ]);
  });

  test("no configuration there: an error with the command that writes it", async () => {
    const { of, fixOf } = await look(good.ca, "--etcd-prefix=/elsewhere");
    expect(of("network-config")).toEqual(["error: the network's configuration /elsewhere/config is not in etcd yet"]);
    expect(fixOf("network-config")).toContain("etcdctl put /elsewhere/config");
  });

  describe("with users", () => {
    let guarded: EtcdServer;

    beforeAll(async () => {
      guarded = await etcd.start();
      await guarded.ctl(["put", KEY, NETWORK]);
      for (const args of [
        ["user", "add", "root:secret"],
        ["user", "grant-role", "root", "root"],
        ["role", "add", "reader"],
        ["role", "grant-permission", "reader", "--prefix=true", "read", "/coreos.com/network/"],
        ["user", "add", "reader:secret"],
        ["user", "grant-role", "reader", "reader"],
        ["auth", "enable"],
      ])
        await guarded.ctl(args);
    });

    const as = (...flags: string[]) => diagnose(undefined, [`--etcd-endpoints=${guarded.endpoint}`, ...flags]);

    test("who may only read is told so", async () => {
      const { of, fixOf } = await as("--etcd-username=reader", "--etcd-password=secret");
      expect(of("network-config")).toEqual([expect.stringMatching(/^ok: /)]);
      expect(of("rights")).toEqual([expect.stringMatching(/^error: .*permission denied$/)]);
      expect(fixOf("rights")).toContain("grant etcd's user read and write permission for all keys under --etcd-prefix");
    });

    test("without a user, and with a wrong password", async () => {
      const nobody = await as();
      expect(nobody.of("rights")).toEqual([expect.stringMatching(/^error: /)]);
      expect(nobody.fixOf("rights")).toContain("--etcd-username and --etcd-password");
      const wrong = await as("--etcd-username=reader", "--etcd-password=wrong");
      expect(wrong.of("rights")).toEqual([expect.stringContaining("authentication failed")]);
      expect(JSON.stringify(wrong.report)).not.toContain('wrong"');
    });

    test("who may do both", async () => {
      expect((await as("--etcd-username=root", "--etcd-password=secret")).of("rights")).toEqual([
        "ok: leases may be read and written",
      ]);
    });
  });
});

describeWithKubernetes("tartan doctor and Kubernetes", () => {
  const kubernetes = useKubernetes();
  const folder = useTemporaryFolder();
  let cluster: KubeCluster;
  let config: string;

  beforeAll(async () => {
    cluster = await kubernetes.start();
    config = folder.at("net-conf.json");
    await Bun.write(config, NETWORK);
    await cluster.createNode("n1", { spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] } });
    await cluster.createNode("n2");
    await cluster.createNode("n3", { spec: { podCIDR: "10.99.1.0/24", podCIDRs: ["10.99.1.0/24"] } });
  });

  const look = (kubeconfig: string, node = "n1") =>
    diagnoseQuick(
      undefined,
      ["--kube-subnet-mgr", `--kubeconfig-file=${kubeconfig}`, `--net-config-path=${config}`],
      node === "" ? {} : { NODE_NAME: node },
    );

  test("with flannel's account: it is reached, rights, the Node and the clock are right", async () => {
    const { of, report } = await look(await cluster.kubeconfig({ token: await cluster.token() }));
    expect(report.configuration.leaseSource).toBe("kubernetes");
    expect(of("lease-source")).toEqual([expect.stringMatching(/^ok: https:.* answers in \d+ ms by a certificate/)]);
    expect(of("rights")).toEqual([
      expect.stringMatching(/^ok: user .* may get nodes, list nodes, watch nodes, patch nodes\/status$/),
    ]);
    expect(of("node")).toEqual(["ok: Node n1 has the podCIDR 10.244.1.0/24"]);
    expect(of("clock")).toEqual([expect.stringMatching(/^ok: within/)]);
  });

  test("a Node without a podCIDR, one with another network's, one that is not there, and none that is named", async () => {
    const kubeconfig = await cluster.kubeconfig({ token: await cluster.token() });
    const found = async (node: string) => (await look(kubeconfig, node)).of("node");
    expect(await found("n2")).toEqual(["error: Node n2 has no podCIDR, so it gets no subnet"]);
    expect(await found("n3")).toEqual([
      "error: the podCIDR 10.99.1.0/24 of Node n3 lies outside Network 10.244.0.0/16",
    ]);
    expect(await found("n4")).toEqual([expect.stringMatching(/^error: there is no Node n4 at https:/)]);
    expect(await found("")).toEqual(["skipped: which Node is this one's is not known: set NODE_NAME"]);
  });

  test("rights that are missing, each with the rule that gives it", async () => {
    const { cert, key } = await cluster.authority.issue("reader");
    const rules = [{ apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] }];
    const role = { metadata: { name: "reader" }, rules };
    await cluster.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role);
    await cluster.bind("reader", { kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "reader" }, "reader");
    const { of, fixOf, code } = await look(await cluster.kubeconfig({ "client-certificate": cert, "client-key": key }));
    expect(of("rights")).toEqual([expect.stringMatching(/^error: user .* must not patch nodes\/status$/)]);
    expect(fixOf("rights")).toBe(
      'add to its ClusterRole: {apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"]}',
    );
    expect(code).toBe(3);
  });

  test("by a wrong authority, and by a token that is none", async () => {
    const other = await Authority.create(folder.path, "other-ca");
    const token = await cluster.token();
    const wrong = await look(await cluster.kubeconfig({ token }, { "certificate-authority": other.ca }));
    expect(wrong.of("lease-source")).toEqual([
      expect.stringMatching(/^error: .*signed by an unknown authority, "cluster-ca", not by one in/),
    ]);
    expect(wrong.fixOf("lease-source")).toContain("correct the certificate authority");
    expect(JSON.stringify(wrong.report)).not.toContain(token);
    const nobody = await look(await cluster.kubeconfig({ token: "s3cret" }));
    expect(nobody.of("lease-source")).toEqual([expect.stringContaining("401 Unauthorized")]);
    expect(JSON.stringify(nobody.report)).not.toContain("s3cret");
  });

  test("nobody listens there", async () => {
    const kubeconfig = await cluster.kubeconfig({ token: "x" }, { server: "https://127.0.0.1:1" });
    const { of } = await look(kubeconfig);
    expect(of("lease-source")).toEqual([expect.stringMatching(/^error: .*nothing listens there/)]);
    expect(of("node")).toEqual(["skipped: the API server does not answer"]);
  });
});
