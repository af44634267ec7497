golden state
