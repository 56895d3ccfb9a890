// Grants the rights that `acr-cleanup apply` needs for contoso.azurecr.io. For the rights inside clusters
// with Kubernetes RBAC, print `--format kubernetes`. Deploy it with:
//   az deployment sub create --location LOCATION --template-file rights.bicep --parameters identity=OBJECT_ID
// For `acr-cleanup restore`, print the further rights with `--for restore`.
// Cluster production: aks-prod in rg-prod.
// Cluster private: aks-private in rg-private.
// Cluster onprem: needs no rights in Azure, because it is read as context admin of kubeconfig.
// Run commands in clusters. No built-in role has only these rights.
// The options `require-all-clusters` and `subscriptions` also need the role Reader on those subscriptions.
// Read other services of Azure that pull from the registry (Container Apps, App Service and others). Without
// it, a run warns that it does not see all of them, and `require-all-services` refuses.
targetScope = 'subscription'

@description('The object id of the identity (of a service principal).')
param identity string = '12345678-0000-0000-0000-000000000000'

resource role1 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'acr-cleanup: change locks in the registry')
  properties: {
    roleName: 'acr-cleanup: change locks in the registry'
    description: 'Lets acr-cleanup see locks of tags and manifests, remove them and restore them.'
    type: 'customRole'
    permissions: [
      {
        actions: ['Microsoft.ContainerRegistry/registries/metadata/read', 'Microsoft.ContainerRegistry/registries/metadata/write']
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: union([subscription().id], ['/subscriptions/00000000-0000-0000-0000-000000000000'])
  }
}

resource role2 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'acr-cleanup: run commands in clusters')
  properties: {
    roleName: 'acr-cleanup: run commands in clusters'
    description: 'Lets acr-cleanup read clusters through run commands.'
    type: 'customRole'
    permissions: [
      {
        actions: ['Microsoft.ContainerService/managedClusters/read', 'Microsoft.ContainerService/managedClusters/runcommand/action', 'Microsoft.ContainerService/managedClusters/commandResults/read']
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: union([subscription().id], ['/subscriptions/44444444-4444-4444-4444-444444444444'])
  }
}

resource role3 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'acr-cleanup: read objects in clusters')
  properties: {
    roleName: 'acr-cleanup: read objects in clusters'
    description: 'Lets acr-cleanup find all images that a cluster could start.'
    type: 'customRole'
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: ['Microsoft.ContainerService/managedClusters/*/read']
        notDataActions: ['Microsoft.ContainerService/managedClusters/secrets/read']
      }
    ]
    assignableScopes: union([subscription().id], ['/subscriptions/00000000-0000-0000-0000-000000000000'])
  }
}

// Read its tags and manifests. List its repositories, whose names are looked for in the clusters.
#disable-next-line no-deployments-resources
resource assignment1 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-1'
  subscriptionId: '00000000-0000-0000-0000-000000000000'
  resourceGroup: 'rg-acr'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerRegistry/registries/contoso'
          name: guid('00000000-0000-0000-0000-000000000000', 'rg-acr', 'Microsoft.ContainerRegistry/registries/contoso', identity, 'AcrPull')
          properties: {
            roleDefinitionId: subscriptionResourceId('00000000-0000-0000-0000-000000000000', 'Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Read its policies, such as soft delete and retention.
#disable-next-line no-deployments-resources
resource assignment2 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-2'
  subscriptionId: '00000000-0000-0000-0000-000000000000'
  resourceGroup: 'rg-acr'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerRegistry/registries/contoso'
          name: guid('00000000-0000-0000-0000-000000000000', 'rg-acr', 'Microsoft.ContainerRegistry/registries/contoso', identity, 'Reader')
          properties: {
            roleDefinitionId: subscriptionResourceId('00000000-0000-0000-0000-000000000000', 'Microsoft.Authorization/roleDefinitions', 'acdd72a7-3385-48ef-bd42-f606fba81ae7')
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Delete tags and manifests.
#disable-next-line no-deployments-resources
resource assignment3 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-3'
  subscriptionId: '00000000-0000-0000-0000-000000000000'
  resourceGroup: 'rg-acr'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerRegistry/registries/contoso'
          name: guid('00000000-0000-0000-0000-000000000000', 'rg-acr', 'Microsoft.ContainerRegistry/registries/contoso', identity, 'AcrDelete')
          properties: {
            roleDefinitionId: subscriptionResourceId('00000000-0000-0000-0000-000000000000', 'Microsoft.Authorization/roleDefinitions', 'c2f4ef07-c644-48eb-af81-4b1b4947fb11')
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Remove and restore locks (`include-locked`, and `restore`). AcrPush does not allow it.
#disable-next-line no-deployments-resources
resource assignment4 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-4'
  subscriptionId: '00000000-0000-0000-0000-000000000000'
  resourceGroup: 'rg-acr'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerRegistry/registries/contoso'
          name: guid('00000000-0000-0000-0000-000000000000', 'rg-acr', 'Microsoft.ContainerRegistry/registries/contoso', identity, 'acr-cleanup: change locks in the registry')
          properties: {
            roleDefinitionId: subscriptionResourceId('00000000-0000-0000-0000-000000000000', 'Microsoft.Authorization/roleDefinitions', role1.name)
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Find it and read its power state.
#disable-next-line no-deployments-resources
resource assignment5 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-5'
  subscriptionId: '00000000-0000-0000-0000-000000000000'
  resourceGroup: 'rg-prod'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerService/managedClusters/aks-prod'
          name: guid('00000000-0000-0000-0000-000000000000', 'rg-prod', 'Microsoft.ContainerService/managedClusters/aks-prod', identity, 'Reader')
          properties: {
            roleDefinitionId: subscriptionResourceId('00000000-0000-0000-0000-000000000000', 'Microsoft.Authorization/roleDefinitions', 'acdd72a7-3385-48ef-bd42-f606fba81ae7')
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Get user credentials (never those of the administrator).
#disable-next-line no-deployments-resources
resource assignment6 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-6'
  subscriptionId: '00000000-0000-0000-0000-000000000000'
  resourceGroup: 'rg-prod'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerService/managedClusters/aks-prod'
          name: guid('00000000-0000-0000-0000-000000000000', 'rg-prod', 'Microsoft.ContainerService/managedClusters/aks-prod', identity, 'Azure Kubernetes Service Cluster User Role')
          properties: {
            roleDefinitionId: subscriptionResourceId('00000000-0000-0000-0000-000000000000', 'Microsoft.Authorization/roleDefinitions', '4abbcc35-e782-43d8-92c5-2d3f1bd2253f')
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Find it and read its power state.
#disable-next-line no-deployments-resources
resource assignment7 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-7'
  subscriptionId: '44444444-4444-4444-4444-444444444444'
  resourceGroup: 'rg-private'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerService/managedClusters/aks-private'
          name: guid('44444444-4444-4444-4444-444444444444', 'rg-private', 'Microsoft.ContainerService/managedClusters/aks-private', identity, 'Reader')
          properties: {
            roleDefinitionId: subscriptionResourceId('44444444-4444-4444-4444-444444444444', 'Microsoft.Authorization/roleDefinitions', 'acdd72a7-3385-48ef-bd42-f606fba81ae7')
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Cluster private.
#disable-next-line no-deployments-resources
resource assignment8 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-8'
  subscriptionId: '44444444-4444-4444-4444-444444444444'
  resourceGroup: 'rg-private'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerService/managedClusters/aks-private'
          name: guid('44444444-4444-4444-4444-444444444444', 'rg-private', 'Microsoft.ContainerService/managedClusters/aks-private', identity, 'acr-cleanup: run commands in clusters')
          properties: {
            roleDefinitionId: subscriptionResourceId('44444444-4444-4444-4444-444444444444', 'Microsoft.Authorization/roleDefinitions', role2.name)
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}

// Cluster production.
#disable-next-line no-deployments-resources
resource assignment9 'Microsoft.Resources/deployments@2022-09-01' = {
  name: 'acr-cleanup-rights-9'
  subscriptionId: '00000000-0000-0000-0000-000000000000'
  resourceGroup: 'rg-prod'
  properties: {
    mode: 'Incremental'
    template: {
      '$schema': 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#'
      contentVersion: '1.0.0.0'
      resources: [
        {
          type: 'Microsoft.Authorization/roleAssignments'
          apiVersion: '2022-04-01'
          scope: 'Microsoft.ContainerService/managedClusters/aks-prod'
          name: guid('00000000-0000-0000-0000-000000000000', 'rg-prod', 'Microsoft.ContainerService/managedClusters/aks-prod', identity, 'acr-cleanup: read objects in clusters')
          properties: {
            roleDefinitionId: subscriptionResourceId('00000000-0000-0000-0000-000000000000', 'Microsoft.Authorization/roleDefinitions', role3.name)
            principalId: identity
            principalType: 'ServicePrincipal'
          }
        }
      ]
    }
  }
}
