/**
 * A kubeconfig's text; JSON is YAML.
 * @param ca file of the certificate authority
 * @param user as it stands there, such as `{ token }`
 * @param cluster more about the cluster
 */
export function kubeconfigText(server: string, ca: string, user: object, cluster: object = {}): string {
  const content = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "tartan",
    contexts: [{ name: "tartan", context: { cluster: "tartan", user: "tartan" } }],
    clusters: [{ name: "tartan", cluster: { server, "certificate-authority": ca, ...cluster } }],
    users: [{ name: "tartan", user }],
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
