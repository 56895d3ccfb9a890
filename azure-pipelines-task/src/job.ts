/** The job of acr-cleanup, for both methods of running it. */

export interface Job {
  /** The variables of the child. */
  readonly environment: Record<string, string>;
  /** The folder for the result and the summary of the child. */
  readonly folder: string;
  /** Files outside the folders of the job that the child must be able to read. */
  readonly files: readonly string[];
  readonly show: (line: string) => void;
}

/**
 * Returns the environment of this process without inputs, connections, secrets, and other logins.
 * The service connection is the login, and no other login is tried.
 */
export function withoutSecrets(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const hidden = /^(INPUT_|ENDPOINT_|SECRET_|SECUREFILE_|VSTS_TASKVARIABLE_|AZURE_|AZURESUBSCRIPTION_|ACR_CLEANUP_|ARM_|AGENT_PROXY|SYSTEM_ACCESSTOKEN$|SYSTEM_OIDCREQUESTURI$|GITHUB_ACTIONS$|PYTHON)/i;
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !hidden.test(name)));
}
