{{- define "spore.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of what lies outside the release's namespace. A colon cannot occur in the parts, so that no
two releases spell the same name. */}}
{{- define "spore.clusterName" -}}
{{- printf "%s:%s" (include "spore.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "spore.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "spore.labels" -}}
{{ include "spore.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: spore
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "spore.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "spore.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "spore.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What has no default, each with the words to set it. */}}
{{- define "spore.required" -}}
{{- if not .Values.aws.regions -}}
{{- fail "\n\naws.regions is empty. List the regions in which spores may live, the default one first:\n  --set 'aws.regions={us-east-1,us-west-2}'\n" -}}
{{- end -}}
{{- if not .Values.agent.url -}}
{{- fail "\n\nagent.url is empty. Set it to the URL from which instances fetch the agent; {region} and {arch} are filled in:\n  --set-literal 'agent.url=https://example.com/spored-{arch}'\n" -}}
{{- end -}}
{{- if not .Values.agent.sha256 -}}
{{- fail "\n\nagent.sha256 is empty. Set the SHA-256 of the agent at agent.url for each architecture that you launch (sha256sum prints it):\n  --set agent.sha256.x86_64=… --set agent.sha256.arm64=…\n" -}}
{{- end -}}
{{- end -}}

{{/* What the controller does with spores, in the namespace or the cluster that it watches. */}}
{{- define "spore.rules" -}}
- apiGroups: [spore.host]
  resources: [sporeinstances]
  verbs: [create, delete, get, list, watch, patch, update]
- apiGroups: [spore.host]
  resources: [sporearrays, sporesweeps]
  # Created and deleted by schedules.
  verbs: [create, delete, get, list, watch, patch, update]
- apiGroups: [spore.host]
  resources: [sporeschedules]
  verbs: [get, list, watch]
- apiGroups: [spore.host]
  resources: [sporeresults]
  verbs: [create, get, list, watch, update]
- apiGroups: [spore.host]
  resources: [sporeinstances/status, sporearrays/status, sporesweeps/status, sporeschedules/status]
  verbs: [get, patch, update]
- apiGroups: [spore.host]
  resources: [sporeinstances/finalizers, sporearrays/finalizers, sporesweeps/finalizers, sporeschedules/finalizers]
  verbs: [update]
# Parameters of sweeps, by the name that the sweep gives.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* IPv6 addresses are written in brackets. */}}
{{- define "spore.listen" -}}
{{- with .Values.http -}}
{{- if contains ":" .address -}}
{{- printf "[%s]:%d" .address (int .port) -}}
{{- else -}}
{{- printf "%s:%d" .address (int .port) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Unquoted, YAML reads on and off as booleans. */}}
{{- define "spore.orphanCollection" -}}
{{- $mode := .Values.orphanCollection.mode -}}
{{- if kindIs "bool" $mode -}}
{{- ternary "on" "off" $mode -}}
{{- else -}}
{{- $mode -}}
{{- end -}}
{{- end -}}
