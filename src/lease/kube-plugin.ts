import type { RequestOptions } from "node:https";
import type { KubeConfig, User } from "@kubernetes/client-node";
import * as v from "valibot";

type Authenticator = Parameters<KubeConfig["addAuthenticator"]>[0];

/** How long a plugin may take, in milliseconds; then it is killed. */
const PLUGIN_MS = 30_000;
/** The authProvider's name under which the client library finds the plugin: no other provider has it. */
const PROVIDER = "exec-plugin";

const execSchema = v.object({
  apiVersion: v.optional(v.string()),
  command: v.pipe(v.string(), v.nonEmpty()),
  args: v.nullish(v.array(v.string()), []),
  env: v.nullish(v.array(v.object({ name: v.string(), value: v.string() })), []),
  provideClusterInfo: v.nullish(v.boolean(), false),
});

/** What a plugin is told of the cluster if it asks for that (client.authentication.k8s.io, `spec.cluster`). */
export interface PluginCluster {
  readonly server: string;
  readonly "tls-server-name"?: string;
  /** PEM in base64 */
  readonly "certificate-authority-data"?: string;
  readonly "proxy-url"?: string;
  /** what the kubeconfig's cluster has for plugins: the extension client.authentication.k8s.io/exec */
  readonly config?: unknown;
}

export interface PluginOptions {
  /** asked when the plugin runs, and only if it wants to know */
  readonly cluster: () => PluginCluster;
  readonly timeoutMs?: number;
}

const answerSchema = v.object({
  status: v.object({
    token: v.optional(v.string()),
    clientCertificateData: v.optional(v.string()),
    clientKeyData: v.optional(v.string()),
    expirationTimestamp: v.nullish(v.string()),
  }),
});

type Credential = v.InferOutput<typeof answerSchema>["status"];

/**
 * Credentials by a command (client.authentication.k8s.io), kept until they expire. In place of the client library's own,
 * which lets a plugin that hangs run for ever, and quotes what it printed.
 */
export class ExecPlugin implements Authenticator {
  readonly #exec: v.InferOutput<typeof execSchema>;
  readonly #cluster: () => PluginCluster;
  readonly #timeoutMs: number;
  #credential: Credential | undefined;

  /**
   * @param exec of a kubeconfig's user
   * @throws Error that names the field
   */
  constructor(exec: unknown, { cluster, timeoutMs = PLUGIN_MS }: PluginOptions) {
    const checked = v.safeParse(execSchema, exec);
    if (!checked.success) throw new Error(`exec.${v.getDotPath(checked.issues[0])} is missing or malformed`);
    this.#exec = checked.output;
    this.#cluster = cluster;
    this.#timeoutMs = timeoutMs;
  }

  /** The user as the client library must see it to ask this plugin. */
  userOf({ exec: _exec, ...user }: User): User {
    return { ...user, authProvider: { name: PROVIDER, config: {} } };
  }

  isAuthProvider(user: User): boolean {
    return user.authProvider?.name === PROVIDER;
  }

  async applyAuthentication(_user: User, options: RequestOptions): Promise<void> {
    const expires = this.#credential?.expirationTimestamp;
    if (this.#credential === undefined || (expires && Date.parse(expires) <= Date.now())) {
      this.#credential = await this.#run();
    }
    const { token, clientCertificateData: cert, clientKeyData: key } = this.#credential;
    if (cert) options.cert = cert;
    if (key) options.key = key;
    if (token) options.headers = { ...options.headers, Authorization: `Bearer ${token}` };
  }

  async #run(): Promise<Credential> {
    const { apiVersion, command, args, env, provideClusterInfo } = this.#exec;
    const spec = { ...(provideClusterInfo && { cluster: this.#cluster() }), interactive: false };
    const info = { apiVersion, kind: "ExecCredential", spec };
    const child = Bun.spawn([command, ...(args ?? [])], {
      env: {
        ...process.env,
        ...Object.fromEntries((env ?? []).map(({ name, value }) => [name, value])),
        KUBERNETES_EXEC_INFO: JSON.stringify(info),
      },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(new Error(`no answer within ${this.#timeoutMs / 1000} s`));
      child.kill("SIGKILL");
    }, this.#timeoutMs);
    const [stdout, stderr] = [new Response(child.stdout).text(), new Response(child.stderr).text()];
    try {
      const [code, text, said] = await Promise.race([Promise.all([child.exited, stdout, stderr]), late.promise]);
      if (code !== 0) throw new Error(lastLine(said) || `it ended with exit code ${code} without a word`);
      return answerOf(text);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @throws Error that does not quote the text, which may hold a credential */
function answerOf(text: string): Credential {
  const schema = v.pipe(v.string(), v.parseJson(), answerSchema);
  const answer = v.safeParse(schema, text);
  if (!answer.success) throw new Error("what it printed is not an ExecCredential in JSON, with a status");
  return answer.output.status;
}

/** Where an output says what went wrong; without the credentials of URLs. */
function lastLine(text: string): string {
  const line = text.trim().split("\n").at(-1) ?? "";
  return line.replace(/\/\/[^\s/]*@/g, "//…@").slice(0, 200);
}
