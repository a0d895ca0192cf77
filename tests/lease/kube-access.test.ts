import { afterEach, beforeAll, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { Authority } from "../../src/cli/lab/servers/certificates.ts";
import type { KubernetesOptions } from "../../src/lease/kube.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { eventually } from "../support/wait.ts";
import { Follower } from "./follower.ts";
import { createPublished, openInPod } from "./kube-sample.ts";
import { NETWORK, requestOf } from "./samples.ts";

const never = new AbortController().signal;

describeWithKubernetes("access to the Kubernetes API", () => {
  const kubernetes = useKubernetes();
  const opened: LeaseSource[] = [];
  let cluster: KubeCluster;

  beforeAll(async () => {
    cluster = await kubernetes.start();
    await createPublished(cluster, 1);
  });

  afterEach(() => {
    for (const source of opened.splice(0)) source.close();
  });

  async function open(options: Partial<KubernetesOptions> = {}): Promise<LeaseSource> {
    const source = await openInPod(cluster, "node-1", options);
    opened.push(source);
    return source;
  }

  const problemOf = (source: LeaseSource) =>
    eventually(() => source.contact.error?.message, { within: 20_000, what: "the source says what is wrong" });

  /** Does everything that an agent does. */
  async function works(source: LeaseSource): Promise<void> {
    await source.settings(never);
    const lease = await source.acquire(requestOf(1), NETWORK, never);
    await using follower = new Follower(source);
    await follower.untilKeys([lease.key]);
    await source.announceReady(never);
    expect(source.contact.error).toBeUndefined();
  }

  test("by a client certificate, under another name of the server", async () => {
    const { cert, key } = await cluster.authority.issue("node-agent");
    await cluster.bind("node-agent", { kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "node-agent" });
    const user = { "client-certificate": cert, "client-key": key };
    await works(await open({ kubeconfigFile: await cluster.kubeconfig(user, { "tls-server-name": "kubernetes" }) }));
  });

  test("by a token, by a file with one, by an exec plugin", async () => {
    const token = await cluster.token();
    await Bun.write(cluster.folder.at("a-token"), token);
    const plugin = cluster.folder.at("plugin");
    const answer = { apiVersion: "client.authentication.k8s.io/v1beta1", kind: "ExecCredential", status: { token } };
    await Bun.write(plugin, `#!/bin/sh\necho '${JSON.stringify(answer)}'\n`);
    chmodSync(plugin, 0o755);
    const exec = { apiVersion: answer.apiVersion, command: plugin };
    for (const user of [{ token }, { tokenFile: cluster.folder.at("a-token") }, { exec }]) {
      await works(await open({ kubeconfigFile: await cluster.kubeconfig(user) }));
    }
  });

  test("by --kube-api-url in place of the kubeconfig's server", async () => {
    const path = await cluster.kubeconfig({ token: await cluster.token() }, { server: "https://198.51.100.1:6443" });
    await works(await open({ kubeconfigFile: path, apiUrl: cluster.url }));
  });

  test("is refused to a server of an unknown authority, which is named", async () => {
    const other = await Authority.create(cluster.folder.path, "other-ca");
    const path = await cluster.kubeconfig({ token: "s3cret" }, { "certificate-authority": other.ca });
    const source = await open({ kubeconfigFile: path });
    await expect(source.settings(never)).rejects.toThrow(
      `its certificate is signed by an unknown authority, "cluster-ca", not by one in ${other.ca}`,
    );
    await using follower = new Follower(source);
    expect(await problemOf(source)).toContain('unknown authority, "cluster-ca"');
    expect(follower.count).toBe(0);
  });

  test("is refused to it even where the environment tells Bun to verify nothing", async () => {
    const other = await Authority.create(cluster.folder.path, "other-ca");
    const kubeconfigFile = await cluster.kubeconfig({ token: "s3cret" }, { "certificate-authority": other.ca });
    const [credentials, transport] = ["kube-credentials", "kube-transport"].map((name) =>
      import.meta.resolve(`../../src/lease/${name}.ts`),
    );
    // Bun reads the variable when it starts.
    const script = `
      const { KubeCredentials } = await import("${credentials}");
      const { KubeTransport } = await import("${transport}");
      const access = new KubeCredentials({ environment: {}, kubeconfigFile: ${JSON.stringify(kubeconfigFile)} });
      const asked = new KubeTransport(access, () => {}).bytes("/api/v1/nodes", new AbortController().signal);
      console.log(await asked.then(() => "believed", ({ message }) => message));`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0" },
      stdout: "pipe",
      stderr: "ignore",
    });
    expect(await new Response(child.stdout).text()).toContain('signed by an unknown authority, "cluster-ca"');
  });

  test("is refused to a server of another name, and the names are told", async () => {
    const path = await cluster.kubeconfig({ token: "s3cret" }, { "tls-server-name": "elsewhere" });
    await expect((await open({ kubeconfigFile: path })).settings(never)).rejects.toThrow(
      "its certificate is for other names (IP Address:127.0.0.1, IP Address:127.0.0.1, DNS:kubernetes)",
    );
  });

  test("without valid credentials says who was not accepted, and no secret", async () => {
    const path = await cluster.kubeconfig({ token: "s3cret" });
    const source = await open({ kubeconfigFile: path });
    await expect(source.settings(never)).rejects.toThrow(
      `can't get nodes node-1 at ${cluster.url}: 401 Unauthorized: the API server does not accept user tartan of kubeconfig ${path}`,
    );
    await using _follower = new Follower(source);
    expect(await problemOf(source)).not.toContain("s3cret");
  });

  test("without the role says which rule is missing", async () => {
    const { cert, key } = await cluster.authority.issue("nobody");
    const user = { "client-certificate": cert, "client-key": key };
    const source = await open({ kubeconfigFile: await cluster.kubeconfig(user) });
    await expect(source.acquire(requestOf(1), NETWORK, never)).rejects.toThrow(
      /403 Forbidden: .*User "nobody" cannot get resource "nodes".*needs the rule {apiGroups: \[""\], resources: \["nodes"\], verbs: \["get"\]}/,
    );
    await using _follower = new Follower(source);
    expect(await problemOf(source)).toContain('resources: ["nodes"], verbs: ["list"]');
    const announcing = new AbortController();
    const announced = source.announceReady(announcing.signal);
    await cluster.bind("nobody", { kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "nobody" });
    await announced;
    await eventually(() => source.contact.error === undefined, { within: 20_000, what: "the role is enough" });
  });

  test("without the right to read a single Node reads its podCIDR once it has that", async () => {
    const { cert, key } = await cluster.authority.issue("lister");
    const subject = { kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "lister" };
    const rules = [{ apiGroups: [""], resources: ["nodes"], verbs: ["list", "watch"] }];
    await cluster.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {
      metadata: { name: "lister" },
      rules,
    });
    await cluster.bind("lister", subject, "lister");
    const user = { "client-certificate": cert, "client-key": key };
    const source = await open({ kubeconfigFile: await cluster.kubeconfig(user) });
    await using follower = new Follower(source);
    await follower.untilKeys(["node-1"]);
    await createPublished(cluster, 2);
    expect(await problemOf(source)).toContain("needs the rule");
    await cluster.bind("reader", subject);
    await follower.untilKeys(["node-1", "node-2"], 20_000);
    expect(source.contact.error).toBeUndefined();
    await cluster.deleteNode("node-2");
  });

  test("that nobody answers says so, and where", async () => {
    const source = await open({ apiUrl: "https://127.0.0.1:1" });
    await expect(source.settings(never)).rejects.toThrow(
      "can't get nodes node-1 at https://127.0.0.1:1: nothing listens there",
    );
    expect(source.contact).toEqual({ error: expect.any(Error) });
    expect(source.location).toBe("https://127.0.0.1:1");
  });
});
