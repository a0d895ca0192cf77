import { readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { type Cluster, KubeConfig, type User } from "@kubernetes/client-node";
import * as v from "valibot";

/** What tells where the API server is and who we are. */
export interface KubeConfigOptions {
  /** --kube-api-url; it wins over the kubeconfig's server and over that of the pod's environment */
  readonly apiUrl?: string;
  /** --kubeconfig-file */
  readonly kubeconfigFile?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** where a pod finds its service account's files */
  readonly serviceAccountFolder?: string;
}

/** The API server and the user to be towards it. */
export interface FoundConfig {
  readonly cluster: Cluster;
  readonly user: User;
  /** for messages: who we are, and where that was found */
  readonly identity: string;
  /** what the cluster has for exec plugins */
  readonly pluginConfig?: unknown;
}

const SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * As flannel (clientcmd.BuildConfigFromFlags): the kubeconfig if one is named, else the pod's service account; the URL of
 * --kube-api-url takes the place of either's server. Without either, that server is asked anonymously.
 * @throws Error that names the file and what is wrong with it
 */
export function findKubeConfig(options: KubeConfigOptions): FoundConfig {
  const { kubeconfigFile, apiUrl } = options;
  const found = kubeconfigFile === undefined ? findInPod(options) : findInFile(kubeconfigFile);
  const server = (apiUrl ?? found?.cluster.server)?.replace(/\/+$/, "");
  if (server === undefined) {
    throw new Error(
      "there is no Kubernetes API server to ask: this is not a pod (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT " +
        "are not both set); give --kubeconfig-file or --kube-api-url",
    );
  }
  const {
    cluster = { name: "", skipTLSVerify: false },
    user = { name: "" },
    identity = "no credentials",
  } = found ?? {};
  return { ...found, cluster: { ...cluster, server }, user, identity };
}

function findInPod(options: KubeConfigOptions): FoundConfig | undefined {
  const { environment, serviceAccountFolder: folder = SERVICE_ACCOUNT_FOLDER } = options;
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (!host || !port) return undefined;
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return {
    cluster: { name: "in-cluster", server, caFile: join(folder, "ca.crt"), skipTLSVerify: false },
    user: withTokenFile({ name: "in-cluster" }, join(folder, "token")),
    identity: `the service account in ${folder}`,
  };
}

const extensionSchema = v.looseObject({ name: v.string(), extension: v.unknown() });
const clusterSchema = v.looseObject({
  name: v.string(),
  cluster: v.looseObject({ server: v.string(), extensions: v.nullish(v.array(extensionSchema)) }),
});
/** client-go's name for what a cluster has for exec plugins. */
const PLUGIN_EXTENSION = "client.authentication.k8s.io/exec";
const commandSchema = v.looseObject({ command: v.string() });
const contextSchema = v.looseObject({
  name: v.string(),
  context: v.looseObject({ cluster: v.string(), user: v.nullish(v.string(), "") }),
});
const userSchema = v.looseObject({
  name: v.string(),
  user: v.nullish(v.looseObject({ tokenFile: v.nullish(v.string()) })),
});
const kubeconfigSchema = v.object({
  "current-context": v.pipe(v.string(), v.nonEmpty()),
  clusters: v.array(clusterSchema),
  contexts: v.array(contextSchema),
  users: v.nullish(v.array(userSchema), []),
});

function findInFile(path: string): FoundConfig {
  const problem = (what: string) => new Error(`kubeconfig ${path}: ${what}`);
  const text = readText(path, "kubeconfig");
  const parsed = attempt(() => Bun.YAML.parse(text));
  if (parsed === undefined) throw problem("it is not YAML; write it anew");
  const checked = v.safeParse(kubeconfigSchema, parsed, { abortEarly: true });
  if (!checked.success) throw problem(`${v.getDotPath(checked.issues[0]) ?? "its content"} is missing or malformed`);
  const { "current-context": name, contexts, clusters, users } = checked.output;
  const context = contexts.find((one) => one.name === name)?.context;
  if (context === undefined) throw problem(`there is no context ${name}, which current-context names`);
  const config = attempt(() => loaded(text));
  if (config === undefined) throw problem("it is not a proper kubeconfig: see that no field is there twice");
  config.makePathsAbsolute(dirname(path));
  const cluster = config.getCluster(context.cluster);
  if (cluster === null) throw problem(`there is no cluster ${context.cluster}, which the context ${name} names`);
  if (!isServerUrl(cluster.server)) {
    const given = showUrl(cluster.server);
    throw problem(`the server of cluster ${cluster.name} must be a URL such as https://10.0.0.1:6443, not ${given}`);
  }
  if (cluster.skipTLSVerify) {
    throw problem(
      `cluster ${cluster.name} has insecure-skip-tls-verify, but the certificate is always verified: name its authority ` +
        "with certificate-authority instead",
    );
  }
  if (!context.user) return { cluster, user: { name: "" }, identity: `kubeconfig ${path}, which names no user` };
  const user = config.getUser(context.user);
  if (user === null) throw problem(`there is no user ${context.user}, which the context ${name} names`);
  const tokenFile = users?.find((one) => one.name === user.name)?.user?.tokenFile;
  const extensions = clusters.find((one) => one.name === cluster.name)?.cluster.extensions;
  const pluginConfig = extensions?.find((one) => one.name === PLUGIN_EXTENSION)?.extension;
  return {
    cluster,
    user: withCommand(tokenFile ? withTokenFile(user, besideFile(path, tokenFile)) : user, path),
    identity: `user ${user.name} of kubeconfig ${path}`,
    ...(pluginConfig === undefined ? {} : { pluginConfig }),
  };
}

/** A path in a kubeconfig is relative to the kubeconfig's folder. */
function besideFile(kubeconfig: string, path: string): string {
  return isAbsolute(path) ? path : join(dirname(kubeconfig), path);
}

/** As in client-go, an exec plugin's command is such a path if it has a slash; else it is looked for in PATH. */
function withCommand(user: User, kubeconfig: string): User {
  const exec = v.safeParse(commandSchema, user.exec);
  if (!exec.success || !exec.output.command.includes("/")) return user;
  return { ...user, exec: { ...exec.output, command: besideFile(kubeconfig, exec.output.command) } };
}

/** The client library knows token files by another name. As in client-go, the file wins over a token beside it. */
function withTokenFile({ token: _token, ...user }: User, tokenFile: string): User {
  return { ...user, authProvider: { name: "tokenFile", config: { tokenFile } } };
}

function loaded(text: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromString(text);
  return config;
}

/** @returns undefined where it fails: why is not to be told, since parsers quote the file, secrets included */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** Whether a text is a server's URL and no more: a user or a password in it would show wherever the server is named. */
export function isServerUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) return false;
  return !(url.username || url.password || url.search || url.hash);
}

/** What stands there instead, for a message; credentials and tokens are left out. */
export function showUrl(text: string): string {
  return JSON.stringify(text.replace(/\/\/.*@/s, "//…@").replace(/([?#]).*/s, "$1…"));
}

/** @param what for messages: "kubeconfig" */
export function readText(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? ` (${cause.code})` : "";
    throw new Error(`${what} ${path} can't be read${code}; check its path and its permissions`, { cause });
  }
}
