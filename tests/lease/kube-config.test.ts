import { beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../../src/base/errors.ts";
import { findKubeConfig, type KubeConfigOptions } from "../../src/lease/kube-config.ts";
import { KubeCredentials } from "../../src/lease/kube-credentials.ts";
import { ExecPlugin } from "../../src/lease/kube-plugin.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const folder = useTemporaryFolder();
const IN_POD = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
const SECRET = "s3cret-t0ken";

interface Parts {
  readonly cluster?: object;
  readonly user?: object | null;
  readonly context?: object;
  readonly top?: object;
}

function kubeconfig({ cluster = {}, user = { token: SECRET }, context = {}, top = {} }: Parts = {}): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "here",
    contexts: [{ name: "here", context: { cluster: "c", user: "u", ...context } }],
    clusters: [
      { name: "c", cluster: { server: "https://198.51.100.7:6443/", "certificate-authority": "ca.crt", ...cluster } },
    ],
    users: [{ name: "u", user }],
    ...top,
  };
}

let count = 0;
async function write(content: object | string): Promise<string> {
  const path = folder.at(`config-${count++}`);
  await Bun.write(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const accessOf = (options: Partial<KubeConfigOptions>) =>
  new KubeCredentials({ environment: {}, ...options }).current();

beforeAll(async () => {
  await Bun.write(folder.at("ca.crt"), "an authority");
  await Bun.write(folder.at("client.crt"), "a certificate");
  await Bun.write(folder.at("client.key"), "a key");
  await Bun.write(folder.at("token"), `${SECRET}\n`);
});

describe("in a pod", () => {
  test("its service account is used, with the cluster's authority", async () => {
    const access = await accessOf({ environment: IN_POD, serviceAccountFolder: folder.path });
    expect(access).toMatchObject({
      server: "https://10.96.0.1:443",
      headers: { Authorization: `Bearer ${SECRET}` },
      trust: folder.at("ca.crt"),
    });
    expect(`${access.tls.ca}`).toBe("an authority");
  });

  test.each([
    [{ ...IN_POD, KUBERNETES_SERVICE_HOST: "fd00::1" }, undefined, "https://[fd00::1]:443"],
    [IN_POD, "https://198.51.100.9:6443/", "https://198.51.100.9:6443"],
    [{}, "https://198.51.100.9:6443", "https://198.51.100.9:6443"],
  ])("%j with --kube-api-url=%j leads to %s", (environment, apiUrl, server) => {
    expect(findKubeConfig({ environment, ...(apiUrl && { apiUrl }) }).cluster.server).toBe(server);
  });

  test("elsewhere there is nothing to ask", () => {
    expect(() => findKubeConfig({ environment: { KUBERNETES_SERVICE_HOST: "10.96.0.1" } })).toThrow(
      "give --kubeconfig-file or --kube-api-url",
    );
  });

  test("a missing authority is named", async () => {
    await expect(accessOf({ environment: IN_POD, serviceAccountFolder: folder.at("nowhere") })).rejects.toThrow(
      `certificate authority ${folder.at("nowhere", "ca.crt")} can't be read (ENOENT)`,
    );
  });
});

describe("a kubeconfig", () => {
  test("gives the server without the slash, and paths from its own folder", async () => {
    const user = { "client-certificate": "client.crt", "client-key": folder.at("client.key") };
    const path = await write(kubeconfig({ user, cluster: { "tls-server-name": "kubernetes.default" } }));
    const { server, tls, headers } = await accessOf({ kubeconfigFile: path, environment: IN_POD });
    expect(server).toBe("https://198.51.100.7:6443");
    expect(Object.entries(tls).map(([name, value]) => [name, `${value}`])).toEqual([
      ["ca", "an authority"],
      ["cert", "a certificate"],
      ["key", "a key"],
      ["serverName", "kubernetes.default"],
    ]);
    expect(headers).toEqual({});
  });

  test.each<[string, object, Record<string, string>]>([
    ["a token", { token: SECRET }, { Authorization: `Bearer ${SECRET}` }],
    [
      "a token file, which wins over a token",
      { token: "old", tokenFile: "token" },
      { Authorization: `Bearer ${SECRET}` },
    ],
    [
      "user and password",
      { username: "me", password: "pw" },
      { Authorization: `Basic ${Buffer.from("me:pw").toString("base64")}` },
    ],
  ])("with %s", async (_what, user, headers) => {
    expect((await accessOf({ kubeconfigFile: await write(kubeconfig({ user })) })).headers).toEqual(headers);
  });

  test("without a user still has the cluster's authority", async () => {
    for (const parts of [{ context: { user: "" } }, { user: null }]) {
      const access = await accessOf({ kubeconfigFile: await write(kubeconfig(parts)) });
      expect(`${access.tls.ca}`).toBe("an authority");
      expect(access.headers).toEqual({});
    }
  });

  test("written as YAML, with data in place of files", async () => {
    const ca = Buffer.from("inline authority").toString("base64");
    const text = `
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
clusters:
- name: c
  cluster: {server: "https://198.51.100.7:6443", certificate-authority-data: ${ca}, proxy-url: "http://proxy:3128"}
users:
- name: u
  user: {token: "${SECRET}"}
`;
    const access = await accessOf({ kubeconfigFile: await write(text) });
    expect(`${access.tls.ca}`).toBe("inline authority");
    expect(access.proxy).toBe("http://proxy:3128");
  });

  test("gives nobody on the way a credential to read", async () => {
    const path = await write(kubeconfig());
    const { server, headers, tls } = await accessOf({ kubeconfigFile: path, apiUrl: "http://127.0.0.1:8080" });
    expect({ server, headers, tls }).toEqual({ server: "http://127.0.0.1:8080", headers: {}, tls: {} });
  });

  test.each<[string, object | string, string]>([
    ["that is not YAML", `{token: "${SECRET}"\n  - : [`, "is not YAML"],
    [
      "with a field twice",
      `${JSON.stringify(kubeconfig()).slice(0, -1)}, "users": [{"name": "u", "user": {"token": "${SECRET}"}}]}`,
      "it is not a proper kubeconfig: see that no field is there twice",
    ],
    [
      "with a password in the server's URL",
      kubeconfig({ cluster: { server: `https://me:${SECRET}@198.51.100.7:6443` } }),
      'the server of cluster c must be a URL such as https://10.0.0.1:6443, not "https://…@198.51.100.7:6443"',
    ],
    [
      "with a token in the server's URL",
      kubeconfig({ cluster: { server: `https://198.51.100.7:6443/?token=${SECRET}` } }),
      'must be a URL such as https://10.0.0.1:6443, not "https://198.51.100.7:6443/?…"',
    ],
    [
      "with a server that is no URL",
      kubeconfig({ cluster: { server: "10.0.0.1:6443" } }),
      'must be a URL such as https://10.0.0.1:6443, not "10.0.0.1:6443"',
    ],
    ["that is empty", "", "its content is missing or malformed"],
    [
      "without current-context",
      kubeconfig({ top: { "current-context": "" } }),
      "current-context is missing or malformed",
    ],
    ["with a context that is not there", kubeconfig({ top: { "current-context": "x" } }), "there is no context x"],
    [
      "with a cluster that is not there",
      kubeconfig({ context: { cluster: "x" } }),
      "there is no cluster x, which the context here names",
    ],
    [
      "with a user that is not there",
      kubeconfig({ context: { user: "x" } }),
      "there is no user x, which the context here names",
    ],
    [
      "that verifies nothing",
      kubeconfig({ cluster: { "insecure-skip-tls-verify": true } }),
      "insecure-skip-tls-verify, but the certificate is always verified",
    ],
    [
      "with a SOCKS proxy",
      kubeconfig({ cluster: { "proxy-url": "socks5://me:pw@proxy" } }),
      "its proxy-url is neither HTTP nor HTTPS",
    ],
    [
      "with a token of two lines",
      kubeconfig({ user: { token: `${SECRET}\nx` } }),
      "have a line break or another special character",
    ],
    [
      "with a token file that is not there",
      kubeconfig({ user: { tokenFile: "absent" } }),
      "no credentials from user u of kubeconfig",
    ],
  ])("%s is refused, and no secret shows", async (_what, content, message) => {
    const path = await write(content);
    const error = await accessOf({ kubeconfigFile: path }).then(
      () => new Error("accepted"),
      (cause: Error) => cause,
    );
    expect(error.message).toContain(message);
    for (const text of [Bun.inspect(error), error.stack]) {
      expect(text).not.toContain(SECRET);
      expect(text).not.toContain("me:pw");
    }
  });

  test("that is not there is named", async () => {
    await expect(accessOf({ kubeconfigFile: folder.at("absent") })).rejects.toThrow(
      `kubeconfig ${folder.at("absent")} can't be read (ENOENT)`,
    );
  });
});

describe("an exec plugin", () => {
  const plugin = async (script: string, more: object = {}) => {
    const command = await write(`#!/bin/sh\necho run >>${folder.at("runs")}\n${script}\n`);
    chmodSync(command, 0o755);
    const exec = { apiVersion: "client.authentication.k8s.io/v1beta1", command, ...more };
    return new KubeCredentials({ environment: {}, kubeconfigFile: await write(kubeconfig({ user: { exec } })) });
  };
  const answer = (status: object) => `printf '%s' '${JSON.stringify({ kind: "ExecCredential", status })}'`;
  const runs = () => readFileSync(folder.at("runs"), "utf8").trim().split("\n").length;

  test("gives a token, is told what is wanted of it, and is asked again only when that is refused", async () => {
    await Bun.write(folder.at("runs"), "");
    const info = folder.at("info");
    const env = [{ name: "WHERE", value: info }];
    const credentials = await plugin(`printf '%s' "$KUBERNETES_EXEC_INFO" >$WHERE\n${answer({ token: SECRET })}`, {
      env,
    });
    expect((await credentials.current()).headers).toEqual({ Authorization: `Bearer ${SECRET}` });
    expect(JSON.parse(readFileSync(info, "utf8"))).toMatchObject({
      kind: "ExecCredential",
      apiVersion: "client.authentication.k8s.io/v1beta1",
    });
    await credentials.current();
    expect(runs()).toBe(1);
    credentials.forget();
    await credentials.current();
    expect(runs()).toBe(2);
  });

  test("is told of the cluster, the authority's certificate and what is there for plugins, if it asks for that", async () => {
    const command = folder.at("telling-plugin");
    const answer = `{"kind":"ExecCredential","status":{"token":"${SECRET}"}}`;
    await Bun.write(command, `#!/bin/sh\nprintf %s "$KUBERNETES_EXEC_INFO" >${folder.at("told")}\necho '${answer}'\n`);
    chmodSync(command, 0o755);
    const told = async (exec: object, cluster: object, options: Partial<KubeConfigOptions> = {}) => {
      const user = { exec: { apiVersion: "client.authentication.k8s.io/v1", command, ...exec } };
      await accessOf({ kubeconfigFile: await write(kubeconfig({ user, cluster })), ...options });
      return JSON.parse(readFileSync(folder.at("told"), "utf8"));
    };
    const audience = { audience: "pods", deep: { list: [1] } };
    const extensions = [
      { name: "other", extension: 1 },
      { name: "client.authentication.k8s.io/exec", extension: audience },
    ];
    const rest = { "tls-server-name": "kubernetes", "proxy-url": "http://192.0.2.7:3128" };
    const ask = { provideClusterInfo: true };
    expect(await told({}, { extensions })).toEqual({
      kind: "ExecCredential",
      apiVersion: "client.authentication.k8s.io/v1",
      spec: { interactive: false },
    });
    expect((await told(ask, { extensions, ...rest })).spec).toEqual({
      interactive: false,
      cluster: {
        server: "https://198.51.100.7:6443",
        ...rest,
        "certificate-authority-data": Buffer.from("an authority").toString("base64"),
        config: audience,
      },
    });
    const data = { "certificate-authority": null, "certificate-authority-data": "YQ==" };
    expect((await told(ask, data, { apiUrl: "https://198.51.100.8" })).spec.cluster).toEqual({
      server: "https://198.51.100.8",
      "certificate-authority-data": "YQ==",
    });
  });

  test("with a slash in its command is looked for beside the kubeconfig, else in PATH", async () => {
    mkdirSync(folder.at("plugins"));
    const script = `#!/bin/sh\necho '{"kind":"ExecCredential","status":{"token":"'$1'"}}'\n`;
    for (const path of ["plugins/relative-plugin", "beside-plugin"]) {
      await Bun.write(folder.at(path), script);
      chmodSync(folder.at(path), 0o755);
    }
    const tokenBy = async (command: string, args: string[]) => {
      const kubeconfigFile = await write(kubeconfig({ user: { exec: { command, args } } }));
      return (await accessOf({ kubeconfigFile })).headers["Authorization"];
    };
    expect(await tokenBy("plugins/relative-plugin", ["one"])).toBe("Bearer one");
    expect(await tokenBy("./beside-plugin", ["two"])).toBe("Bearer two");
    expect(await tokenBy("sh", [folder.at("beside-plugin"), "three"])).toBe("Bearer three");
    await expect(tokenBy("beside-plugin", [])).rejects.toThrow("no credentials from exec plugin beside-plugin for");
  });

  test("gives a client certificate", async () => {
    const credentials = await plugin(answer({ clientCertificateData: "a certificate", clientKeyData: "a key" }));
    expect((await credentials.current()).tls).toMatchObject({ cert: "a certificate", key: "a key" });
  });

  test("that fails is named with what it said last", async () => {
    const credentials = await plugin(`echo first >&2; echo 'https://me:${SECRET}@idp says no' >&2; exit 3`);
    await expect(credentials.current()).rejects.toThrow(
      /^no credentials from exec plugin .*: https:\/\/…@idp says no$/,
    );
  });

  test.each([
    ["is no JSON", `echo ${SECRET}`],
    ["has no status", "echo '{}'"],
    ["has a token that is no text", answer({ token: { not: SECRET } })],
  ])("whose answer %s is refused, and the answer is not told", async (_what, script) => {
    const error = await (await plugin(script)).current().then(
      () => new Error("accepted"),
      (cause: Error) => cause,
    );
    expect(error.message).toMatch(/^no credentials from exec plugin .*: what it printed is not an ExecCredential/);
    expect(Bun.inspect(error)).not.toContain(SECRET);
  });

  test("is named by its field when its configuration is wrong", async () => {
    await expect((await plugin("", { env: "x" })).current()).rejects.toThrow("exec.env is missing or malformed");
  });

  test("that hangs is killed when its time is over", async () => {
    const pid = folder.at("pid");
    const command = await write(`#!/bin/sh\necho $$ >${pid}\nexec sleep 600\n`);
    chmodSync(command, 0o755);
    const user = { name: "u" };
    const cluster = () => ({ server: "https://198.51.100.7:6443" });
    await expect(
      new ExecPlugin({ command }, { cluster, timeoutMs: 2000 }).applyAuthentication(user, {}),
    ).rejects.toThrow("no answer within 2 s");
    const process = `/proc/${readFileSync(pid, "utf8").trim()}`;
    await eventually(() => !existsSync(process), { within: 20_000, what: "the plugin is gone" });
  });
});

test("what could not be read is read again at once, and what is known is kept", async () => {
  const account = folder.at("late");
  const credentials = new KubeCredentials({ environment: IN_POD, serviceAccountFolder: account });
  await expect(credentials.current()).rejects.toThrow("can't be read");
  await Bun.write(join(account, "ca.crt"), "an authority");
  await Bun.write(join(account, "token"), "one");
  expect((await credentials.current()).headers).toEqual({ Authorization: "Bearer one" });
  await Bun.write(join(account, "token"), "two");
  expect((await credentials.current()).headers).toEqual({ Authorization: "Bearer one" });
  credentials.forget();
  expect((await credentials.current()).headers).toEqual({ Authorization: "Bearer two" });
});

test("--kube-api-url must be a URL", () => {
  for (const apiUrl of ["", "10.0.0.1:6443", "ftp://10.0.0.1", "https://", "https://10.0.0.1/?a=b"]) {
    expect(() => new KubeCredentials({ environment: {}, apiUrl })).toThrow(UsageError);
  }
  expect(() => new KubeCredentials({ environment: {}, apiUrl: `https://me:${SECRET}@10.0.0.1` })).toThrow(
    'must be a URL such as https://10.0.0.1:6443, not "https://…@10.0.0.1"',
  );
});
